"""SIGINT and SIGTERM end the toggler promptly, wherever it is, with 130 and 143 and no half-written line."""

import time

import programs
from device import Device, closed_port
from programs import PROMPT, SIGNALS, apart, silent_dns, start


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
