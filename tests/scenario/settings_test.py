"""Settings come from the command line or the environment; what is wrong is said in one sentence, with exit code 2."""

import re
import socket
import subprocess
import unittest

import programs
from device import Device, closed_port
from programs import apart, run

LONG = ['--io-timeout', '30s']


class Settings(programs.Scenario):
    def environment(self, device, **more):
        return {'DEVICE_ID': 'FROM_ENV', 'DEVICE_HOST': '127.0.0.1', 'DEVICE_PORT': str(device.port)} | more

    # Where they come from

    def test_the_device_may_be_named_in_the_environment(self):
        with Device() as device:
            self.code(run(*LONG, env=self.environment(device)), 0)
            self.assertEqual(device.states, {'FROM_ENV': True})

    def test_the_command_line_goes_before_the_environment(self):
        held, closed = closed_port()
        with Device() as device, held:
            done = run(*LONG, port=device.port, name='FROM_LINE',
                       env={'DEVICE_ID': 'FROM_ENV', 'DEVICE_HOST': 'nowhere.invalid', 'DEVICE_PORT': str(closed)})
            self.code(done, 0)
            self.assertEqual(device.states, {'FROM_LINE': True})

    def test_a_wrong_variable_does_no_harm_if_the_command_line_says_otherwise(self):
        with Device() as device:
            self.code(run(*LONG, port=device.port, env={'DEVICE_PORT': 'many'}), 0)

    def test_the_other_settings_have_variables_too(self):
        with Device('disconnect') as device:
            done = run(*LONG, env=self.environment(device, CLEAT_MAX_ATTEMPTS='3', CLEAT_STATE='off'))
            self.code(done, 3)
            self.assertEqual([q['state'] for q in device.requests], [False] * 3)
            done = run(*LONG, '--max-attempts', 1, env=self.environment(device, CLEAT_MAX_ATTEMPTS='3'))
            self.assertEqual(len(device.requests), 4)
        with Device() as device:
            done = run(*LONG, env=self.environment(device, CLEAT_LOG_LEVEL='ERROR'))
            self.assertEqual((done.code, done.out), (0, b''))

    @apart
    def test_the_port_is_9000_unless_said_otherwise(self):
        done = run('--max-attempts', 1, '--log-level', 'DEBUG', '--device-id', 'D', '--device-host', '127.0.0.1')
        self.code(done, 1)
        self.assertIn(b':9000', done.out + done.err)

    def test_two_attempts_and_on_unless_said_otherwise(self):
        with Device('disconnect') as device:
            self.code(run(*LONG, port=device.port), 3)
            self.assertEqual([q['state'] for q in device.requests], [True, True])

    def test_a_flag_of_the_environment_is_taken_back_on_the_command_line(self):
        for given, op_id in ((['--op-id=false'], False), (['--op-id'], True), (['--op-id=1', '--op-id=no'], False),
                             (['--op-id=off', '--op-id=TRUE'], True), ([], True)):
            with self.subTest(given), Device() as device:
                self.code(run(*LONG, *given, port=device.port, env={'CLEAT_OP_ID': '1'}), 0)
                self.assertEqual('op_id' in device.requests[0], op_id)
        with Device() as device:
            self.code(run(*LONG, '--status=false', '--state', 'on', port=device.port), 0)
            self.assertEqual(device.states, {'DEVICE123': True})
            self.code(run('--dry-run', '--dry-run=0', *LONG, port=device.port, env={'CLEAT_STATE': 'off'}), 0)
            self.assertEqual(device.states, {'DEVICE123': False})

    def test_metrics_that_the_command_line_asks_for_are_shown_whatever_the_environment_says(self):
        no_metrics = {'CLEAT_NO_METRICS': '1'}
        for given, shown in ((['--metrics-port', 0], True), (['--no-metrics=false', '--metrics-port=0'], True),
                             ([], False)):
            with self.subTest(given):
                done = run('--simulate', *LONG, *given, metrics=True, env=no_metrics)
                self.code(done, 0)
                self.assertEqual(any('the metrics are at' in line for line in done.err_lines), shown, done.said())
        done = run('--simulate', *LONG, '--no-metrics=false', metrics=True,
                   env={'CLEAT_NO_METRICS': '1', 'CLEAT_METRICS_PORT': '0'})
        self.assertIn(b'the metrics are at', done.err)
        done = run('--simulate', *LONG, env={'CLEAT_METRICS_PORT': '0'})  # with --no-metrics
        self.assertNotIn(b'the metrics are at', done.err)

    def test_a_state_of_the_environment_does_no_harm_to_a_question(self):
        with Device() as device:
            self.code(run(*LONG, '--status', port=device.port, env={'CLEAT_STATE': 'maybe'}), 0)
            self.assertEqual(device.states, {})

    # What is wrong with them

    def test_what_is_wrong_is_said_with_the_name_of_the_option_and_what_would_be_right(self):
        for arguments, words in {
                ('--device-port', '70000'): ['--device-port', '65535'],
                ('--device-port', '0'): ['--device-port', '65535'],
                ('--device-port', '-1'): ['--device-port', '65535'],
                ('--device-port', '9000x'): ['--device-port', '9000x', '65535'],
                ('--device-port', ''): ['--device-port', '65535'],
                ('--state', 'maybe'): ['--state', 'maybe', r'\bon\b', r'\boff\b'],
                ('--max-attempts', '-1'): ['--max-attempts', '-1', r'\b1\b'],
                ('--max-attempts', '0'): ['--max-attempts', r'\b1\b'],
                ('--max-attempts', 'two'): ['--max-attempts', 'two', r'\b1\b'],
                ('--log-level', 'LOUD'): ['--log-level', 'LOUD', 'INFO'],
                ('--log-format', 'xml'): ['--log-format', 'xml', 'json', 'text'],
                ('--reply', 'some'): ['--reply', 'some', 'framed', 'any'],
                ('--metrics-port', '65536'): ['--metrics-port', '65536', '65535'],
                ('--metrics-address', 'here'): ['--metrics-address', 'here'],
                ('--io-timeout', 'soon'): ['--io-timeout', 'soon', r'\d ?m?s\b'],
                ('--connect-timeout', '-1s'): ['--connect-timeout', '-1s', r'\d ?m?s\b'],
                ('--metrics-linger', 'long'): ['--metrics-linger', 'long', r'\d ?m?s\b'],
                ('--brightness', '3'): ['--brightness'],
                ('surprise',): ['surprise'],
                ('--device-id', ''): ['--device-id'],
                ('--device-id', 'x' * 129): ['--device-id', '128'],
                ('--device-host', ''): ['--device-host']}.items():
            with self.subTest(arguments):
                given = {'--device-id': 'D', '--device-host': '127.0.0.1', '--device-port': '9'}
                given.pop(arguments[0], None)
                done = run(*sum(given.items(), ()), *arguments, metrics=arguments[0].startswith('--metrics'))
                self.code(done, 2)
                self.one_sentence(done, *words)

    def test_an_option_without_its_value_is_named(self):
        done = run('--device-id', 'D', '--device-host', '127.0.0.1', '--device-port')
        self.code(done, 2)
        self.one_sentence(done, '--device-port')

    def test_an_empty_value_eats_no_other_word(self):
        expected = {'--device-id': '128', '--device-host': 'lamp.local', '--device-port': '65535', '--state': 'off',
                    '--status': 'true or false', '--dry-run': 'true or false', '--simulate': 'nack_retryable',
                    '--max-attempts': '100', '--connect-timeout': '250ms', '--io-timeout': '250ms',
                    '--deadline': '250ms', '--reply': 'framed', '--op-id': 'true or false', '--log-level': 'DEBUG',
                    '--log-format': 'text', '--log-file': 'the path of a file', '--metrics-port': '65535',
                    '--metrics-address': 'IPv4', '--no-metrics': 'true or false', '--metrics-linger': '250ms'}
        shown = run('--help').out.decode()
        self.assertEqual(set(expected), set(re.findall(r'^ +(--[a-z-]+)', shown, re.M)) - {'--version'})
        with Device() as device:
            for option, words in expected.items():
                for given in ([f'{option}='], [f'{option}=', f'{option}=1'], [option, '']):
                    if option in ('--status', '--dry-run', '--op-id', '--no-metrics') and given[-1] == '':
                        continue  # these take no next word
                    for beside in ([], ['--dry-run']):
                        with self.subTest(given=given, beside=beside):
                            others = {'--device-id': 'D', '--device-host': '127.0.0.1', '--device-port': device.port}
                            others.pop(option, None)
                            if option == '--simulate':
                                others = {}
                            done = run(*sum(others.items(), ()), *given, *beside, metrics='metrics' in option)
                            self.code(done, 2)
                            self.one_sentence(done, f"{option} is ''; it should be .*{words}")
            self.assertEqual(device.connections, [])
        for option in ('--port', '--address', '--device-id', '--mode', '--script', '--delay', '--ledger', '--seed'):
            with self.subTest(option), programs.Program([programs.SIMULATOR, f'{option}=', '--help=x']) as simulator:
                simulator.code = simulator.finish()
                self.code(simulator, 2)
        for word in ('-h=', '--help=', '--version=', '-h=1'):
            done = run(word)
            self.code(done, 2)
            self.one_sentence(done, 'takes no value')

    def test_a_word_with_a_dash_is_a_value_only_behind_an_equals_sign(self):
        for given in (['--log-file', '--dry-run'], ['--log-file', '--status', '--dry-run'], ['--state', '--dry-run']):
            done = run('--device-id', 'D', '--device-host', '127.0.0.1', '--device-port', 9, *given)
            self.code(done, 2)
            self.one_sentence(done, 'needs one value')
        with Device() as device:
            done = run('--device-id=-D', '--device-host', '127.0.0.1', '--device-port', device.port, *LONG)
            self.code(done, 0)
            self.assertEqual(device.states, {'-D': True})

    def test_a_flag_takes_a_word_that_says_whether_it_holds_and_no_other(self):
        for flag in ('--op-id', '--status', '--dry-run', '--no-metrics'):
            with self.subTest(flag):
                done = run(f'{flag}=maybe', '--device-id', 'D', '--device-host', '127.0.0.1', metrics=True)
                self.code(done, 2)
                self.one_sentence(done, f"{flag} is 'maybe'; it should be true or false")
        done = run('--op-id', 'false', '--device-id', 'D', '--device-host', '127.0.0.1')
        self.code(done, 2)
        self.one_sentence(done, "no option 'false'")

    def test_what_contradicts_itself_on_the_command_line_is_refused(self):
        for given in (['--no-metrics', '--metrics-port', 0], ['--status', '--state', 'on'],
                      ['--simulate', '--device-port', 9]):
            with self.subTest(given):
                done = run(*given, '--device-id', 'D', '--dry-run', metrics=True)
                self.code(done, 2)
                self.one_sentence(done, given[0], given[-2], 'contradict')

    def test_a_linger_that_cannot_be_had_is_told(self):
        with socket.socket() as taken:
            try:
                taken.bind(('127.0.0.1', 9400))
                taken.listen()
            except OSError:
                pass  # somebody else has it: just as well
            done = run('--simulate', *LONG, '--metrics-linger', '1h', metrics=True)
        self.code(done, 0)
        self.assertRegex(done.err_lines[0], 'no metrics: .*9400.*linger')
        self.assertIn('done in', done.err_lines[-1])
        done = run('--simulate', *LONG, env={'CLEAT_METRICS_LINGER': '1h'})  # with --no-metrics
        self.code(done, 0)
        self.assertRegex(done.err_lines[0], 'no metrics.*linger')
        self.assertIn('done in', done.err_lines[-1])

    # Addresses

    def test_an_address_that_could_be_another_one_is_refused(self):
        for host in ('127.0.0.010', '0x7f.8', '2130706440', '127.8', '127.0.0.0x8', '017700000010', '127.0.0.1.'):
            for option in ('--device-host', '--metrics-address'):
                with self.subTest(option=option, host=host):
                    given = {'--device-id': 'D', '--device-host': '127.0.0.1'} | {option: host}
                    done = run(*sum(given.items(), ()), metrics=True)
                    self.code(done, 2)
                    self.one_sentence(done, option, re.escape(host), '192.0.2.10')
            with programs.Program([programs.SIMULATOR, '--address', host, '--port', 0]) as simulator:
                simulator.code = simulator.finish(programs.PROMPT)
                self.code(simulator, 2)
                self.one_sentence(simulator, '--address', re.escape(host), '192.0.2.10')
        done = run('--dry-run', '--device-id', 'D', '--device-host', '127.0.0.010')
        self.code(done, 2)
        done = run('--device-id', 'D', env={'DEVICE_HOST': '127.0.0.010'})
        self.code(done, 2)
        self.one_sentence(done, 'DEVICE_HOST in the environment', '127.0.0.010')

    def test_what_is_no_host_is_said_in_a_sentence_of_its_own(self):
        for host, words in {'fe80::1': ['fe80::1 is link-local; say on which interface, as fe80::1%eth0'],
                            '[fe80::1]': ['link-local', 'fe80::1%eth0'],
                            'febf:1::2%': ['link-local', 'febf:1::2%eth0'],
                            'fe80::1%no-such-if': ["no interface 'no-such-if'"],
                            '[fe80::1%25no-such-if]': ['fe80::1%no-such-if', 'URL'],
                            '2001:db8::1%eth0': ['only a link-local address'],
                            '::ffff:127.0.0.1': ['127.0.0.1', 'IPv4'],
                            '[127.0.0.1]': ['brackets'],
                            '127.0.0.1:9000': ['--device-port'],
                            '[::1]:9000': ['--device-port'],
                            'lamp.local:9000': ['--device-port'],
                            'tcp://lamp.local': ['--device-port'],
                            'lamp/1': ['neither an address nor a name'],
                            '224.0.0.1': ['many'],
                            '255.255.255.255': ['many']}.items():
            with self.subTest(host):
                done = run('--device-id', 'D', '--device-host', host)
                self.code(done, 2)
                self.one_sentence(done, '--device-host', *words)
        for host in ('fe80::1', '::ffff:127.0.0.1', 'lamp.local'):
            with self.subTest(host), programs.Program([programs.SIMULATOR, '--address', host]) as simulator:
                simulator.code = simulator.finish(programs.PROMPT)
                self.code(simulator, 2)
                self.one_sentence(simulator, '--address')

    def test_brackets_as_in_a_url_are_taken_off(self):
        with socket.socket(socket.AF_INET6) as s:
            try:
                s.bind(('::1', 0))
            except OSError as e:
                raise unittest.SkipTest(f'there is no IPv6: {e}') from None
        with Device(host='::1') as device:
            self.code(run(*LONG, port=device.port, host='[::1]'), 0)

    # What was asked for and cannot be written

    def test_help_that_cannot_be_written_is_an_error(self):
        for command in ([programs.TOGGLER, '--help'], [programs.TOGGLER, '--version'], [programs.SIMULATOR, '-h']):
            with self.subTest(command):
                with open('/dev/full', 'wb') as full, programs.Program(command, stdout=full) as program:
                    program.code = program.finish()
                    self.code(program, 4)
                    self.one_sentence(program, 'standard output', 'No space left')
                with programs.Program(['bash', '-c', '"$@" >&-', '_', *command]) as program:
                    program.code = program.finish()
                    self.code(program, 4)
                    self.one_sentence(program, 'standard output')

    def test_a_reader_that_has_seen_enough_of_the_help_is_no_trouble(self):
        script = 'set -o pipefail; "$0" --help | head -1'
        done = subprocess.run(['bash', '-c', script, programs.TOGGLER], capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
        self.assertTrue(done.stdout.startswith(b'Turns one device'))

    # Terminals

    def test_no_word_of_the_command_line_or_the_environment_steers_the_terminal(self):
        steering = ('\x07', '\x1b[31m', '\x7f', '\x85', '\x9b31m', '\u061c', '\u200e', '\u200f', '\u2028',
                    '\u2029', '\u202e', '\u2066', '\u2069')
        bad = ''.join(steering)
        host = ('--device-host', '127.0.0.1')
        some = ('--device-id', 'D', *host)
        printed = [run(*words) for words in ([f'--{bad}'], [bad], [f'--device-id={bad}', *host], [f'--log-level={bad}'],
                                             ['--device-id', 'D', '--device-host', f'lamp{bad}'],
                                             [*some, f'--io-timeout={bad}'], [*some, f'--log-file=/nowhere/{bad}'],
                                             [*some, f'--op-id={bad}'])]
        printed.append(run(*some, env={'DEVICE_PORT': bad}))
        held, port = closed_port()
        with held:
            name = ''.join(c for c in steering if c[0] > '\x7f')
            for form in ('json', 'text'):
                printed.append(run('--max-attempts', 1, '--log-format', form, port=port, name=name))
                printed.append(run('--dry-run', '--device-id', name, '--log-format', form))
        for arguments in (['--address', bad], ['--mode', bad], ['--ledger', f'/nowhere/{bad}'], [bad]):
            with programs.Program([programs.SIMULATOR, '--port', 0, *arguments]) as simulator:
                simulator.code = simulator.finish(programs.PROMPT)
                printed.append(simulator)
        for done in printed:
            self.assertTrue(done.err_lines)
            self.assert_steers_no_terminal(done)

    def test_a_value_that_is_not_utf8_is_shown_as_what_it_is_not(self):
        value = b'\xff\x9b'.decode(errors='surrogateescape')
        done = run(f'--log-level={value}', '--device-id', 'D', '--device-host', '::1')
        self.code(done, 2)
        self.one_sentence(done, r"--log-level is '\?\?'")

    def test_what_is_wrong_in_the_environment_is_said_with_the_name_of_the_variable(self):
        for variable, value, words in (('DEVICE_PORT', '70000', ['70000', '65535']),
                                       ('DEVICE_PORT', 'many', ['many', '65535']),
                                       ('CLEAT_STATE', 'maybe', ['maybe', r'\bon\b', r'\boff\b']),
                                       ('CLEAT_MAX_ATTEMPTS', '-3', ['-3', r'\b1\b']),
                                       ('CLEAT_LOG_LEVEL', 'LOUD', ['LOUD', 'INFO'])):
            with self.subTest(variable):
                env = {'DEVICE_ID': 'D', 'DEVICE_HOST': '127.0.0.1', 'DEVICE_PORT': '9'} | {variable: value}
                done = run(env=env)
                self.code(done, 2)
                self.one_sentence(done, rf'\b{variable}\b', *words)

    def test_a_device_without_a_name_or_a_host_is_asked_for(self):
        for given, missing in {('--device-host', '127.0.0.1'): ['--device-id', 'DEVICE_ID'],
                               ('--device-id', 'D'): ['--device-host', 'DEVICE_HOST']}.items():
            with self.subTest(missing):
                done = run(*given)
                self.code(done, 2)
                self.one_sentence(done, *missing)

    def test_help_is_on_stdout_and_names_every_option(self):
        done = run('--help')
        self.code(done, 0)
        text = done.out.decode()
        for option in ('device-id', 'device-host', 'device-port', 'state', 'max-attempts', 'log-level', 'metrics-port',
                       'status', 'dry-run', 'metrics-address', 'no-metrics', 'metrics-linger', 'connect-timeout',
                       'io-timeout', 'deadline', 'log-format', 'log-file', 'simulate', 'op-id', 'reply'):
            self.assertIn('--' + option, text)
        for variable in ('DEVICE_ID', 'DEVICE_HOST', 'DEVICE_PORT'):
            self.assertIn(variable, text)


if __name__ == '__main__':
    programs.main()
