#!/usr/bin/env python3
"""scripts/bench: its peers keep their deadlines, its driver says what went wrong, and tables and plots come of records.

Called with the paths of bench-limit and bench-asio.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree

import tree

DRIVER = tree.ROOT / 'apps' / 'bench' / 'compare'
LONG = 60  # seconds in which everything has ended, however slow the machine is
LIMIT = ASIO = None

sys.dont_write_bytecode = True
sys.path.insert(0, str(DRIVER))


class Device:
    """A server whose answers are spaced as Python's json spaces them; `answers(n)` says whether the n-th request of a
    connection gets one.
    """

    def __init__(self, answers):
        self._answers = answers
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self._threads = []
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the accepting
        for thread in self._threads:
            thread.join(LONG)
        self._listener.close()

    def _start(self, act, *arguments):
        self._threads.append(threading.Thread(target=act, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._listener.accept()
                self._start(self._serve, visitor)

    def _serve(self, visitor):
        with contextlib.suppress(OSError), visitor, visitor.makefile('rb') as received:
            number = 0
            while len(header := received.read(7)) == 7:
                request = json.loads(received.read(struct.unpack('>I', header[3:])[0]))
                number += 1
                if self._answers(number):
                    answer = json.dumps({**request, 'opcode': 'ack', 'outcome': 'success'}).encode()
                    visitor.sendall(header[:3] + struct.pack('>I', len(answer)) + answer)


class Deadlines(unittest.TestCase):
    """Each client against a device that leaves something unanswered: it says so, and ends."""

    CASES = {  # what is asked -> (which requests of a connection are answered, options)
        'one request': (lambda n: False, ()),
        'a connection for each request': (lambda n: False, ('--w5',)),
        'the first request of each connection': (lambda n: False, ('--conns', '3')),
        'later requests': (lambda n: n < 5, ('--conns', '3', '--active', '2')),
        'one of many, with all others answered': (lambda n: n != 100, ('--window', '16')),
        'the kernel, again and again': (lambda n: n < 5, ('--spin',)),
    }

    def test_no_client_waits_for_ever(self):
        with contextlib.ExitStack() as ends:
            clients = []
            for case, (answers, options) in self.CASES.items():
                port = ends.enter_context(Device(answers)).port
                for program in (LIMIT, ASIO):
                    client = ends.enter_context(subprocess.Popen(
                        [program, 'client', '--port', str(port), *options, '--secs', '600'], text=True,
                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
                    ends.callback(client.kill)
                    clients.append((case, program, client))
            for case, program, client in clients:
                with self.subTest(case, program=program.name):
                    _, errors = client.communicate(timeout=LONG)
                    self.assertEqual((client.returncode, errors), (
                        1, f'{program.name} client: no answer within 1.5 s\n'))

    def test_a_child_that_says_nothing(self):
        import child
        with child.Child('client', ['cat'], min(os.sched_getaffinity(0))) as silent:
            with self.assertRaisesRegex(child.Broken, 'hung: INIT was due within 0.2 s; it printed nothing'):
                silent.expect('INIT', 0.2)


class Driven(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / 'out'
        (self.folder / 'programs' / 'peers').mkdir(parents=True)
        for program in (LIMIT, ASIO):
            (self.folder / 'programs' / 'peers' / program.name).symlink_to(program)

    def command(self, *arguments):
        return [sys.executable, '-B', DRIVER, '--programs', self.folder / 'programs', '--out', self.out, *arguments]

    def drive(self, *arguments):
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=LONG)

    def texts(self, name):
        plot = xml.etree.ElementTree.parse(self.out / name)
        return [''.join(t.itertext()) for t in plot.iter('{http://www.w3.org/2000/svg}text')]


class Measuring(Driven):
    QUICK = ('--rounds', '1', '--seconds', '0.05', '--patience', '0')

    def test_measures_tells_and_records(self):
        done = self.drive(*self.QUICK, '--stacks', 'asio,limit', '--workloads', 'W1,W5', '--pairs', 'all')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.out / 'tables.md').read_text(encoding='utf-8'), done.stdout)
        runs = [json.loads(line) for line in (self.out / 'runs.jsonl').read_text(encoding='utf-8').splitlines()]
        self.assertEqual([(r['workload'], r['pairs'], r['server'], r['client']) for r in runs],
                         [(w, *pair) for w in ('W1', 'W5') for pair in (
                             ('own', 'limit', 'limit'), ('own', 'asio', 'asio'), ('server', 'limit', 'limit'),
                             ('server', 'limit', 'asio'), ('client', 'limit', 'limit'), ('client', 'asio', 'limit'))])
        for run in runs:
            for figure in ('requests', 'p50_us', 'p99_us', 'p999_us', 'client_cpu_us', 'server_cpu_us'):
                self.assertGreater(run[figure], 0, run)
        self.assertIn('12/12 W5 asio', done.stderr)
        for name in ('ratios.svg', 'ratios-server.svg', 'ratios-client.svg'):
            self.assertIn('asio', self.texts(name))

        again = self.drive(*self.QUICK, '--stacks', 'limit', '--workloads', 'W1')
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn('no plot', again.stderr)
        self.assertEqual(len(list(self.out.glob('runs-*.jsonl'))), 1)  # what was recorded before

    def test_counts_allocations(self):
        done = self.drive('--allocations', '--seconds', '0.05', '--stacks', 'limit,asio', '--workloads', 'W1')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('| W1 | limit | 0.00 | 0.00 |', done.stdout)
        self.assertRegex(done.stdout, r'\| W1 \| asio \| [1-9]\d\.\d\d \| [1-9]\d\.\d\d \|')

    def test_says_which_program_broke_and_goes_on(self):
        bench = self.folder / 'programs' / 'bench'
        bench.write_text('#!/bin/sh\necho one thing >&2\necho no such luck >&2\nexit 3\n', encoding='ascii')
        bench.chmod(0o755)
        done = self.drive(*self.QUICK, '--rounds', '3', '--stacks', 'cleat,limit', '--workloads', 'W1')
        self.assertEqual(done.returncode, 1)
        for number, more in ((1, ''), (2, '; it is not tried again')):
            self.assertIn(f'bench: W1 cleat, round {number}: the server of cleat ended with exit code 3 before '
                          f'LISTENING; it printed: no such luck{more}.\n', done.stderr)
        self.assertNotIn('round 3: the server', done.stderr)
        self.assertEqual(len((self.out / 'runs.jsonl').read_text(encoding='utf-8').splitlines()), 3)
        self.assertRegex(done.stdout, r'\| limit \|.*\| 3 \(\d\) \|')

    def test_blames_the_server_that_ends_while_the_client_waits(self):
        bench = self.folder / 'programs' / 'bench'
        bench.write_text(f'#!/bin/sh\ntest "$1" != server || {{ echo LISTENING 1; exec false; }}\nexec {LIMIT} "$@"\n',
                         encoding='utf-8')
        bench.chmod(0o755)
        done = self.drive(*self.QUICK, '--stacks', 'cleat', '--workloads', 'W1')
        self.assertEqual(done.returncode, 1)
        self.assertIn('the server of cleat ended with exit code 1 before ', done.stderr)

    def test_stops_at_once_with_the_tables_of_what_was_measured(self):
        with subprocess.Popen(self.command(*self.QUICK, '--rounds', '1000', '--stacks', 'limit', '--workloads', 'W1'),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
            try:
                self.assertIn('1/1000 W1 limit', driver.stderr.readline())
                driver.send_signal(signal.SIGINT)
                out, errors = driver.communicate(timeout=LONG)
            finally:
                driver.kill()
        self.assertEqual(driver.returncode, -signal.SIGINT, errors)
        self.assertIn('stopped after', errors)
        self.assertIn('| limit |', out)


class Records(Driven):
    STACKS = ('limit', 'asio', 'cleat', 'cleat-bare', 'x<&>"y')

    def record(self, **changed):
        run = {'workload': 'W1', 'pairs': 'own', 'server': 'limit', 'client': 'limit', 'round': 1, 'requests': 1000,
               'seconds': 1.0, 'requests_per_second': 1000.0, 'p50_us': 80.0, 'p99_us': 90.0, 'p999_us': 99.0,
               'client_cpu_us': 5.0, 'server_cpu_us': 4.0, 'other': 0.01, 'steal': 0.0,
               'date': '2026-01-02T03:04:05+00:00', 'commit': 'abc', 'machine': '2 processors'}
        return json.dumps(run | changed) + '\n'

    def of_stack(self, stack, **changed):
        return self.record(server=stack, client=stack, **changed)

    def test_tables_and_a_plot_of_them(self):
        file = self.folder / 'runs.jsonl'
        file.write_text(''.join(
            self.of_stack(stack, workload=workload, round=number, p50_us=80.0 + 8 * i + number,
                          client_cpu_us=5.0 * (i * (20 if workload == 'W3' else 1) + 1))
            for number in (1, 2, 3) for workload in ('W1', 'W3') for i, stack in enumerate(self.STACKS)),
            encoding='utf-8')
        done = self.drive('--table', file)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('| asio | 90.0 | 90.0 | 99.0 | 10.0 |', done.stdout)
        self.assertIn('| 0.048 |', done.stdout)  # W3 asio: 5 µs to 105 µs
        texts = self.texts('ratios.svg')
        for stack in self.STACKS:
            self.assertEqual(texts.count(stack), 2, stack)  # once in each panel
        self.assertTrue(any('logarithmic' in t for t in texts))
        self.assertTrue(all('igher is better' in t for t in texts if 'multiple' in t))
        self.assertIn('2026-01-02; commit abc; 2 processors', texts)

    def test_rounds_of_two_files_are_different_rounds(self):
        one, two = self.folder / 'one.jsonl', self.folder / 'two.jsonl'
        one.write_text(self.record() + self.of_stack('asio', p50_us=160.0), encoding='utf-8')
        two.write_text(self.record(p50_us=40.0) + self.of_stack('asio', p50_us=120.0), encoding='utf-8')
        done = self.drive('--table', one, two)
        self.assertIn('| 2.50 (2.00 … 3.00) | 2 (2) |', done.stdout)

    def test_noisy_runs_are_left_out_where_there_are_enough_others(self):
        file = self.folder / 'runs.jsonl'
        file.write_text(''.join(self.record(round=n) + self.of_stack('asio', round=n, p50_us=100.0 if n < 4 else 900.0,
                                                                     other=0.0 if n < 4 else 1.0)
                                for n in range(1, 5)), encoding='utf-8')
        done = self.drive('--table', file)
        self.assertIn('| 1.25 | 4 (3) |', done.stdout)

    def test_bad_usage_is_told_in_a_sentence(self):
        scrap = self.folder / 'scrap.jsonl'
        scrap.write_text('{"workload": "W1"}\n', encoding='ascii')
        for arguments, sentence in (
                (('--rounds', '0'), "--rounds wants a whole number from 1 to 1000, not '0'"),
                (('--seconds', 'long'), "--seconds wants a number from 0.05 to 600, not 'long'"),
                (('--workloads', 'W1,W9'), "--workloads has no 'W9'; there are: W1, W2, W3, W4, W5"),
                (('--stacks', 'rust'), "--stacks has no 'rust'; there are: limit, asio, cleat"),
                (('--stacks', 'tokio'), 'name a folder that has it with --peers'),
                (('--stacks', 'tokio', '--peers', self.folder), 'has no bin/'),
                (('--pairs', 'both'), "--pairs has no 'both'; there are: own, server, client, all"),
                (('--table', self.folder / 'none'), 'No such file'),
                (('--table', scrap), 'wants files of runs'),
                (('--syscalls', '--allocations'), 'leave all but one out'),
                (('--fast',), 'unrecognized arguments: --fast')):
            with self.subTest(arguments):
                done = self.drive(*arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertIn(sentence, done.stderr)
                self.assertEqual(done.stderr.count('\n'), 1)
        self.assertFalse(self.out.exists())

    def test_says_what_is_not_built(self):
        done = self.drive('--stacks', 'cleat')
        self.assertEqual(done.returncode, 4)
        self.assertIn('scripts/bench builds it', done.stderr)


if __name__ == '__main__':
    ASIO, LIMIT = (pathlib.Path(sys.argv.pop()).resolve() for _ in range(2))
    tree.main()
