"""SIGINT and SIGTERM end the toggler promptly, wherever it is, the one by SIGINT itself and the other with 143."""

import os
import signal
import time

import programs
from device import Device, closed_port
from programs import PROMPT, SIGNALS, apart, full_pipe, silent_dns, start


class Signals(programs.Scenario):
    def ended(self, toggler, number, code, seconds=PROMPT):
        """Sends the signal; the program ends promptly with this code, and what it said is whole."""
        sent = time.monotonic()
        toggler.signal(number)
        toggler.code = toggler.finish()
        self.assertLess(time.monotonic() - sent, seconds)
        self.code(toggler, code)
        toggler.records()
        self.assertTrue(toggler.err.endswith(b'\n'), f'\n{toggler.said()}')
        self.assertNotIn('{', toggler.err_lines[-1])

    # Before the work

    def ended_before(self, toggler, number, code, sentence='before its work began'):
        toggler.wait_until_it_sleeps()
        toggler.signal(number)
        toggler.code = toggler.finish(PROMPT)
        self.code(toggler, code)
        if sentence:
            self.assertRegex(toggler.err_lines[-1], f'ended by {number.name}.*{sentence}')
            self.assertEqual(toggler.out, b'', toggler.said())

    def test_while_a_log_file_is_opened_that_nobody_reads(self):
        file = self.folder() / 'fifo'
        os.mkfifo(file)
        for number, code in SIGNALS.items():
            with self.subTest(number), start('--simulate', '--log-file', file) as toggler:
                self.ended_before(toggler, number, code)

    def test_while_nobody_reads_what_was_asked_for(self):
        for arguments in (['--help'], ['--version'], ['--device-id', 'L', '--dry-run']):
            for number, code in SIGNALS.items():
                with self.subTest((arguments, number)), full_pipe() as full:
                    with start(*arguments, stdout=full) as toggler:
                        self.ended_before(toggler, number, code)

    def test_while_nobody_reads_what_is_wrong(self):
        for number, code in SIGNALS.items():
            with self.subTest(number), full_pipe() as full, start('--nonsense', stderr=full) as toggler:
                self.ended_before(toggler, number, code, sentence=None)

    # In the work

    def test_while_waiting_for_the_answer(self):
        for number, code in SIGNALS.items():
            with self.subTest(number), Device('timeout') as device:
                with start('--io-timeout', '60s', port=device.port) as toggler:
                    device.wait_for_requests(1)
                    self.ended(toggler, number, code)
                self.assertEqual(len(device.connections), 1)

    def test_while_waiting_to_try_again(self):
        for number, code in SIGNALS.items():
            with self.subTest(number):
                held, port = closed_port()
                with held, start('--max-attempts', 20, port=port) as toggler:
                    toggler.wait_for_record(lambda r: r.get('wait_ms', 0) >= 3900, 'a wait of four seconds')
                    self.ended(toggler, number, code, seconds=3.8)
                    self.assertEqual(len(toggler.retries()), 5)

    @apart
    def test_under_a_dns_that_hangs(self):
        with silent_dns() as dns:
            for number, code in SIGNALS.items():
                with self.subTest(number):
                    with start('--connect-timeout', '50s', '--io-timeout', '50s', host=f'lamp{code}.example',
                               port=9) as toggler:
                        while f'lamp{code}'.encode() not in dns.recv(4096):
                            pass
                        self.ended(toggler, number, code)

    @apart
    def test_while_connecting(self):
        port, kept = programs.deaf('127.0.0.1')
        self.addCleanup(lambda: [s.close() for s in kept])
        with start('--connect-timeout', '50s', '--io-timeout', '50s', '--log-level', 'DEBUG', port=port) as toggler:
            self.wait_until_connecting(port)
            self.ended(toggler, *next(iter(SIGNALS.items())))

    def wait_until_connecting(self, port):
        """Waits for a connection of somebody who asks for `port`, beyond those that keep the queue full."""
        def asking():
            with open('/proc/thread-self/net/tcp', encoding='ascii') as table:
                return sum(f':{port:04X} 02 ' in line for line in table)
        before = 0
        for _ in range(200):
            now = asking()
            if before and now > before:
                return
            before = before or now
            time.sleep(0.02)

    def test_while_lingering_the_outcome_decides(self):
        def linger(toggler, number, code):
            toggler.wait_until(lambda: any('attempt' in line for line in toggler.err_lines), 'the end of the work')
            self.ended(toggler, number, code)
        arguments = ['--metrics-port', 0, '--metrics-linger', '10m']
        for number in SIGNALS:
            for mode, code in {'ok': 0, 'nack': 1, 'garbage': 3}.items():
                with self.subTest((number, mode)), Device(mode) as device:
                    with start(*arguments, '--io-timeout', '30s', port=device.port, metrics=True) as toggler:
                        linger(toggler, number, code)

    def test_while_nobody_reads_what_came_of_it(self):
        for number, code in SIGNALS.items():
            with self.subTest(number), full_pipe() as full, Device('timeout') as device:
                with start('--io-timeout', '60s', port=device.port, stderr=full) as toggler:
                    device.wait_for_requests(1)
                    toggler.signal(number)
                    toggler.code = toggler.finish(PROMPT)
                self.code(toggler, code)
        with full_pipe() as full, Device() as device, start(port=device.port, stderr=full) as toggler:
            toggler.wait_for_record(lambda r: r.get('direction') == 'recv', 'the answer')
            toggler.wait_until_it_sleeps()
            toggler.signal(signal.SIGTERM)
            toggler.code = toggler.finish(PROMPT)
            self.code(toggler, 0)  # it was done

    # From a shell

    def shell(self, script, device):
        """bash with a script in which `"$@"` is the toggler, in a group of its own, as from a terminal."""
        return programs.Program(['bash', '-c', script, '_', programs.TOGGLER, '--device-id', 'D', '--device-host',
                                 '127.0.0.1', '--device-port', device.port, '--no-metrics', '--io-timeout', '60s'],
                                start_new_session=True)

    def test_a_shell_that_runs_it_in_a_loop_ends_with_it(self):
        with Device('timeout') as device, self.shell('for i in 1 2 3; do "$@"; echo again; done', device) as shell:
            device.wait_for_requests(1)
            os.killpg(shell.process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
            shell.code = shell.finish(PROMPT)
            self.code(shell, -signal.SIGINT)
            self.assertNotIn(b'again', shell.out)

    def test_a_shell_reads_130_143_and_129(self):
        for number, code in {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}.items():
            with self.subTest(number), Device('timeout') as device:
                with self.shell('"$@"; echo $? >&2', device) as shell:
                    device.wait_for_requests(1)
                    children = f'/proc/{shell.process.pid}/task/{shell.process.pid}/children'
                    with open(children, encoding='ascii') as child:
                        os.kill(int(child.read()), number)
                    shell.finish(PROMPT)
                self.assertEqual(shell.err_lines[-1], str(code))

    # What was ignored when it began

    def test_what_is_ignored_stays_ignored(self):
        file = self.folder() / 'log'
        for number, more in ((signal.SIGINT, ''), (signal.SIGTERM, ''), (signal.SIGHUP, ''),
                             (signal.SIGHUP, f' --log-file {file}')):
            with self.subTest((number, more)), Device('delay', delay=1) as device:
                with self.shell(f'trap "" {number.name}; exec "$@"{more}', device) as toggler:
                    device.wait_for_requests(1)
                    if more:
                        file.rename(file.with_name('moved'))
                    toggler.signal(number)
                    toggler.code = toggler.finish()
                self.code(toggler, 0)
                self.assertFalse(file.exists(), 'it was opened anew')

    def test_a_script_that_is_interrupted_leaves_what_it_started_in_the_background(self):
        with Device('delay', delay=1) as device, self.shell('"$@" & wait', device) as shell:
            device.wait_for_requests(1)
            os.killpg(shell.process.pid, signal.SIGINT)
            self.assertEqual(shell.finish(), -signal.SIGINT)
            self.assertIn('D is on: done', shell.err_lines[-1])

    # SIGHUP

    def test_a_terminal_that_goes_away_ends_it_like_any_signal(self):
        with Device('timeout') as device:
            with start('--io-timeout', '60s', port=device.port) as toggler:
                device.wait_for_requests(1)
                self.ended(toggler, signal.SIGHUP, -signal.SIGHUP)
            self.assertIn('SIGHUP', toggler.err_lines[-1])

    def test_with_a_log_file_it_goes_on_without_its_terminal(self):
        with Device('delay', delay=1) as device:
            with start('--io-timeout', '60s', '--log-file', self.folder() / 'log', port=device.port) as toggler:
                device.wait_for_requests(1)
                toggler.signal(signal.SIGHUP)
                toggler.code = toggler.finish()
            self.code(toggler, 0)

    # Two, and limits

    def test_two_signals_are_not_worse_than_one(self):
        with Device('timeout') as device:
            with start('--io-timeout', '60s', port=device.port) as toggler:
                device.wait_for_requests(1)
                for number in SIGNALS:
                    toggler.signal(number)
                self.assertIn(toggler.finish(PROMPT), SIGNALS.values())
                toggler.records()


if __name__ == '__main__':
    programs.main()
