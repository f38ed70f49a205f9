# bash completion for toggler

_toggler() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
  # What is written with = arrives in three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
  fi

  local modes='ok delay disconnect reject timeout nack nack_retryable garbage unframed partial wrong_id duplicate'
  local options='--device-id --device-host --device-port --state --status --dry-run --simulate --max-attempts
    --connect-timeout --io-timeout --deadline --reply --op-id --log-level --log-format --log-file --metrics-port
    --metrics-address --no-metrics --metrics-linger --help --version'
  local words=
  case $prev in
    --state) words='on off' ;;
    --reply) words='legacy framed any' ;;
    --log-level) words='DEBUG INFO WARNING ERROR' ;;
    --log-format) words='json text' ;;
    --device-port) words='9000' ;;
    --metrics-port) words='0 9400' ;;
    --metrics-address) words='127.0.0.1 ::1 0.0.0.0' ;;
    --connect-timeout | --io-timeout | --deadline | --metrics-linger) words='250ms 1s 1.5s 5s 30s' ;;
    --max-attempts) words='1 2 3 5' ;;
    --simulate)
      words=$modes
      [[ $cur == -* ]] && words=$options
      ;;
    --device-host)
      mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
      return
      ;;
    --log-file)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
      ;;
    --device-id) return ;;
    *) words=$options ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _toggler toggler
