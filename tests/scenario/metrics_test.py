"""The endpoint shows all five families at once, with the figures that the run implies; and what a taken port means."""

import contextlib
import re
import signal
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

import programs
from device import Device, closed_port
from programs import apart, run, start

LINGER = ['--metrics-port', 0, '--metrics-linger', '10m']
LONG = ['--io-timeout', '30s']
PREFIX = 'tcp_comm_'
TYPES = {'packet_sent_total': 'counter', 'packet_recv_total': 'counter', 'packet_latency_seconds': 'histogram',
         'packet_retransmit_total': 'counter', 'decode_errors_total': 'counter'}
BUCKETS = [.01, .025, .05, .075, .1, .15, .25, .3, .5, .75, .8, 1, 1.5, 2, 3, 5, float('inf')]


def fetch(address, path='/metrics'):
    with urllib.request.urlopen(f'http://{address}{path}', timeout=20) as answer:
        return answer.read().decode(), answer.headers


class Scrape:
    """A page of the endpoint, taken apart."""

    def __init__(self, text):
        self.text = text
        self.types = dict(re.findall(r'^# TYPE (\S+) (\S+)$', text, re.M))
        self.samples = []
        for name, labels, value in re.findall(r'^([a-z_]+)\{([^}]*)\} (\S+)$', text, re.M):
            self.samples.append((name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)))

    def get(self, name, **labels):
        """The sum of the samples with these labels; there must be one."""
        values = [v for n, ls, v in self.samples if n == PREFIX + name and labels.items() <= ls.items()]
        assert values, f'{name} {labels}\n{self.text}'
        return sum(values)


class Metrics(programs.Scenario):
    def where(self, toggler):
        """The address of the endpoint, which the program says somewhere."""
        said = re.compile(rb'metrics.*?(127\.0\.0\.\d+:\d+)', re.I)

        def found():
            return said.search(toggler.out) or said.search(toggler.err)
        toggler.wait_until(found, 'where the endpoint is')
        return found()[1].decode()

    def linger(self, *script, arguments=LONG, metrics=LINGER, port=None):
        """(page, toggler) after the work is done. The page is fetched during linger, which a signal then ends."""
        with Device(*script) as device:
            with start(*arguments, *metrics, port=port or device.port, metrics=True) as toggler:
                address = self.where(toggler)
                toggler.wait_until(lambda: toggler.err_lines and re.search(r'\battempt', toggler.err_lines[-1]),
                                   'the human line, before linger')
                text, headers = fetch(address)
                self.assertRegex(headers['Content-Type'], r'^text/plain.*version=0\.0\.4')
                self.healthz = fetch(address, '/healthz')[0]
                toggler.signal(signal.SIGTERM)
                toggler.code = toggler.finish()
                toggler.address = address
        return Scrape(text), toggler

    def test_success_is_counted(self):
        page, toggler = self.linger('ok')
        self.code(toggler, 0)
        self.assertEqual(page.types, {PREFIX + k: v for k, v in TYPES.items()})
        device = {'device_id': 'DEVICE123'}
        self.assertEqual(page.get('packet_sent_total', **device), 1)
        self.assertEqual(page.get('packet_sent_total', outcome='success', **device), 1)
        self.assertEqual(page.get('packet_recv_total', **device), 1)
        self.assertEqual(page.get('packet_recv_total', outcome='success', **device), 1)
        self.assertEqual(page.get('packet_latency_seconds_count', **device), 1)
        self.assertGreater(page.get('packet_latency_seconds_sum', **device), 0)
        self.assertEqual(page.get('packet_retransmit_total', **device), 0)
        self.assertEqual(page.get('decode_errors_total', **device), 0)
        self.assertEqual([float(ls['le']) for n, ls, _ in page.samples if n == PREFIX + 'packet_latency_seconds_bucket'],
                         BUCKETS)
        self.assertEqual({ls['device_id'] for _, ls, _ in page.samples}, {'DEVICE123'})

    def test_the_latency_is_that_of_the_answer(self):
        with Device('delay', delay=0.4) as device:
            page, _ = self.linger('ok', port=device.port)
        self.assertGreaterEqual(page.get('packet_latency_seconds_sum'), 0.39)
        self.assertEqual(page.get('packet_latency_seconds_bucket', le='0.3'), 0)

    def test_a_retry_is_counted_with_its_reason(self):
        page, toggler = self.linger('disconnect', 'ok')
        self.code(toggler, 0)
        self.assertEqual(page.get('packet_sent_total', outcome='success'), 2)
        self.assertEqual(page.get('packet_recv_total', outcome='closed'), 1)
        self.assertEqual(page.get('packet_recv_total', outcome='success'), 1)
        self.assertEqual(page.get('packet_recv_total'), 2)
        self.assertEqual(page.get('packet_latency_seconds_count'), 1)
        self.assertEqual(page.get('packet_retransmit_total'), 1)
        self.assertEqual(page.get('packet_retransmit_total', reason='closed'), 1)

    def test_timeouts_are_counted_and_the_code_stays_that_of_the_outcome(self):
        page, toggler = self.linger('timeout', arguments=['--io-timeout', '300ms'])
        self.code(toggler, 3)
        self.assertEqual(page.get('packet_sent_total', outcome='success'), 2)
        self.assertEqual(page.get('packet_recv_total', outcome='timeout'), 2)
        self.assertEqual(page.get('packet_recv_total'), 2)
        self.assertEqual(page.get('packet_latency_seconds_count'), 0)
        self.assertEqual(page.get('packet_retransmit_total'), 1)

    def test_a_decode_error_is_counted_with_its_reason(self):
        page, toggler = self.linger('garbage')
        self.code(toggler, 3)
        self.assertEqual(page.get('packet_recv_total', outcome='decode_error'), 1)
        self.assertEqual(page.get('packet_recv_total'), 1)
        self.assertEqual(page.get('decode_errors_total'), 1)
        (reason,) = {ls['reason'] for n, ls, v in page.samples if n == PREFIX + 'decode_errors_total' and v}
        self.assertIn('magic', reason)
        self.assertEqual(page.get('packet_retransmit_total'), 0)

    def test_a_refused_connection_sends_nothing(self):
        held, port = closed_port()
        with held:
            page, toggler = self.linger('ok', port=port)
        self.code(toggler, 1)
        self.assertEqual(page.get('packet_sent_total', outcome='success'), 0)
        self.assertEqual(page.get('packet_recv_total'), 0)
        self.assertEqual(page.get('packet_retransmit_total', reason='refused'), 1)

    def test_an_answer_to_another_question_is_counted(self):
        page, toggler = self.linger('wrong_id', arguments=['--io-timeout', '1500ms', '--max-attempts', 1])
        self.code(toggler, 3)
        self.assertEqual(page.get('packet_recv_total', outcome='error'), 1)
        self.assertEqual(page.get('packet_recv_total', outcome='timeout'), 1)

    def test_all_families_are_there_before_anything_happened(self):
        with Device('timeout') as device:
            with start('--io-timeout', '60s', *LINGER, port=device.port, metrics=True) as toggler:
                device.wait_for_requests(1)
                page = Scrape(fetch(self.where(toggler))[0])
                toggler.signal(signal.SIGTERM)
                toggler.code = toggler.finish()
        self.code(toggler, 143)
        self.assertEqual(page.types, {PREFIX + k: v for k, v in TYPES.items()})
        for family in TYPES:
            name = family + '_count' if family.endswith('seconds') else family
            self.assertGreaterEqual(page.get(name, device_id='DEVICE123'), 0)
        self.assertEqual(page.get('packet_recv_total'), 0)

    def test_the_endpoint_is_healthy_and_knows_no_other_page(self):
        self.linger('ok')
        self.assertTrue(self.healthz.strip())
        with Device('timeout') as device:
            with start('--io-timeout', '60s', *LINGER, port=device.port, metrics=True) as toggler:
                address = self.where(toggler)
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    fetch(address, '/nothing')
                self.assertEqual(caught.exception.code, 404)
                caught.exception.close()

    def test_clients_that_say_nothing_keep_no_scraper_out(self):
        with Device('timeout') as device, contextlib.ExitStack() as silent:
            with start('--io-timeout', '60s', *LINGER, port=device.port, metrics=True) as toggler:
                host, port = self.where(toggler).split(':')
                for _ in range(3):
                    for n in range(100):
                        idle = silent.enter_context(socket.create_connection((host, int(port))))
                        if n % 2:
                            idle.send(b'GET /met')
                    self.assertIn(PREFIX, fetch(f'{host}:{port}')[0])

    def test_a_target_may_be_absolute_as_behind_a_proxy(self):
        with Device('timeout') as device:
            with start('--io-timeout', '60s', *LINGER, port=device.port, metrics=True) as toggler:
                proxy = urllib.request.ProxyHandler({'http': f'http://{self.where(toggler)}'})
                opener = urllib.request.build_opener(proxy)
                with opener.open('http://lamp.example/metrics?a=b', timeout=20) as answer:
                    self.assertIn(PREFIX, answer.read().decode())

    def test_a_page_has_the_same_lines_for_every_reader(self):
        with Device('timeout') as device:
            with start('--io-timeout', '60s', *LINGER, port=device.port, metrics=True,
                       name='q"b\\s\u2028u\u2029v') as toggler:
                text = fetch(self.where(toggler))[0]
        self.assertEqual(text.splitlines(), text.split('\n')[:-1])
        self.assertIn(r'device_id="q\"b\\s', text)

    def test_promtool_has_no_complaint(self):
        tool = programs.promtool()
        if tool is None:
            raise unittest.SkipTest('there is no promtool')
        page, _ = self.linger('garbage')
        done = subprocess.run([tool, 'check', 'metrics'], input=page.text, capture_output=True, text=True, check=False,
                              timeout=programs.LONG)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, '', ''))

    def test_linger_ends_by_itself(self):
        with Device() as device:
            done = run(*LONG, '--metrics-port', 0, '--metrics-linger', '1s', port=device.port, metrics=True)
        self.code(done, 0)
        self.assertGreaterEqual(done.seconds, 1)

    def test_without_linger_the_program_ends_after_the_work(self):
        with Device() as device:
            done = run(*LONG, '--metrics-port', 0, port=device.port, metrics=True)
        self.code(done, 0)
        self.assertEqual([p['direction'] for p in done.packets()], ['send', 'recv'])

    # Ports

    def test_an_address_that_is_asked_for_is_used(self):
        _, toggler = self.linger('ok', metrics=[*LINGER, '--metrics-address', '127.0.0.9'])
        self.assertTrue(toggler.address.startswith('127.0.0.9:'))

    def test_a_taken_port_that_was_asked_for_ends_it_before_anything_is_sent(self):
        with Device() as device, socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            port = taken.getsockname()[1]
            for how in ({'arguments': ['--metrics-port', port]}, {'env': {'CLEAT_METRICS_PORT': str(port)}}):
                with self.subTest(how):
                    done = run(*how.get('arguments', []), env=how.get('env'), port=device.port, metrics=True)
                    self.code(done, 4)
                    self.one_sentence(done, rf'127\.0\.0\.1:{port}\b')
            self.assertEqual(device.connections, [])

    @apart
    def test_a_taken_port_that_is_the_default_is_a_warning(self):
        with Device() as device, socket.socket() as taken:
            taken.bind(('127.0.0.1', 9400))
            taken.listen()
            done = run(*LONG, port=device.port, metrics=True)
            self.code(done, 0)
            self.assertEqual(len(device.requests), 1)
        (warning,) = [r for r in done.records() if r['level'] == 'WARNING']
        self.assertIn('9400', warning['message'])

    @apart
    def test_the_default_port_is_9400_on_the_loopback_address(self):
        with Device('timeout') as device:
            with start('--io-timeout', '60s', port=device.port, metrics=True) as toggler:
                device.wait_for_requests(1)
                self.assertIn(PREFIX + 'packet_sent_total', fetch('127.0.0.1:9400')[0])

    @apart
    def test_no_metrics_means_no_endpoint(self):
        with Device('timeout') as device:
            with start('--io-timeout', '60s', '--no-metrics', port=device.port):
                device.wait_for_requests(1)
                with self.assertRaises(urllib.error.URLError) as caught:
                    fetch('127.0.0.1:9400')
                self.assertIsInstance(caught.exception.reason, ConnectionRefusedError)


if __name__ == '__main__':
    programs.main()
