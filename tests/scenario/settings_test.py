"""Settings come from the command line or the environment; what is wrong is said in one sentence, with exit code 2."""

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
                       'io-timeout', 'log-format', 'log-file', 'simulate', 'op-id', 'reply'):
            self.assertIn('--' + option, text)
        for variable in ('DEVICE_ID', 'DEVICE_HOST', 'DEVICE_PORT'):
            self.assertIn(variable, text)


if __name__ == '__main__':
    programs.main()
