#compdef toggler

local -a modes
modes=(ok delay disconnect reject timeout nack nack_retryable garbage unframed partial wrong_id duplicate)

_arguments -s \
  '--device-id[which device, as it calls itself]:device id:' \
  '--device-host[its name or address]:host:_hosts' \
  '--device-port[its TCP port]:port:(9000)' \
  '(--status)--state[what it is to be]:state:(on off)' \
  '(--state)--status[ask how it is and change nothing]' \
  '--dry-run[print the request as a log record, send nothing]' \
  '(--device-host --device-port)--simulate[toggle a simulated device in this process]::mode:($modes)' \
  '--max-attempts[attempts in all]:number:(1 2 3 5)' \
  '--connect-timeout[how long an attempt may take to connect]:time:(250ms 1s 5s)' \
  '--io-timeout[how long an attempt may take to be answered]:time:(500ms 1.5s 5s)' \
  '--deadline[how long all attempts may take]:time:(5s 10s 30s)' \
  '--reply[answers to accept]:kind:(legacy framed any)' \
  "--op-id[send the operation's id]" \
  '--log-level[the least important records shown]:level:(DEBUG INFO WARNING ERROR)' \
  '--log-format[how records are written]:format:(json text)' \
  '--log-file[write the records there too]:file:_files' \
  '(--no-metrics)--metrics-port[where the metrics are]:port:(0 9400)' \
  '(--no-metrics)--metrics-address[on which address]:address:(127.0.0.1 \:\:1 0.0.0.0)' \
  '(--metrics-port --metrics-address --metrics-linger)--no-metrics[no metrics]' \
  '(--no-metrics)--metrics-linger[keep the metrics up after the work]:time:(5s 30s 1m)' \
  '(- *)'{-h,--help}'[print the help]' \
  '(- *)--version[print the version]'
