"""One run: a server, a client, a workload; and the three ways to look at it."""

import collections
import contextlib
import dataclasses
import json
import pathlib
import re
import signal
import socket
import tempfile
import time

import machine
from child import Broken, Child

WARM_UP = 0.3
START_SECONDS = 15  # for a program to begin, and for any one line that costs it no work
CONNECT_SECONDS = 60  # for all connections of W4, on a machine that is busy
MORE_SECONDS = 20  # over what a phase is meant to take


def free_port():
    """A port that was free just now, for servers that cannot pick one."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Run:
    """A server and a client that wait, with everything connected, for the word to begin.

    `wrap(side, command)` may put a tool before a program.
    """

    def __init__(self, server, client, workload, seconds, warm_up=WARM_UP, wrap=lambda side, command: command):
        self.workload, self.seconds, self.warm_up = workload, seconds, warm_up
        self._ends = contextlib.ExitStack()
        self._cores = machine.cores()
        with contextlib.ExitStack() as ends:  # ends what has begun, if the rest cannot
            self.server, port = self._listen(ends, server, wrap)
            command = [*client.client, '--port', str(port), *workload.options, '--warm', str(warm_up), '--secs',
                       str(seconds)]
            self.client = ends.enter_context(Child('client', wrap('client', command), self._cores[1]))
            self.client.expect('INIT', START_SECONDS, self.server)
            empty = self._resident()
            self.client.go_on()
            self.client.expect('READY', CONNECT_SECONDS, self.server)
            # (client, server), the part of each that connections have made
            self.kib = tuple((now - before) / workload.connections
                             for before, now in zip(empty, self._resident()))
            self._ends = ends.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ends.close()

    def begin(self):
        self.client.go_on()
        self.client.expect('START', self.warm_up + MORE_SECONDS, self.server)

    def end(self):
        self.client.expect('END', self.seconds + MORE_SECONDS, self.server)

    def figures(self):
        """What the client has measured; it has ended then."""
        self.client.go_on()
        said = self.client.expect('RESULT', START_SECONDS)
        try:
            result = json.loads(said)
            if not (result['n'] > 0 and result['total'] >= result['n']):
                raise ValueError
        except (ValueError, TypeError, KeyError):
            raise Broken('client', f'gave no figures; it printed: {said[:200]}') from None
        self.client.go_on()
        self.client.wait_for_end(START_SECONDS)
        return result

    def _listen(self, ends, stack, wrap):
        port = 0 if stack.picks_port else free_port()
        command = wrap('server', [*stack.server, '--port', str(port)])
        child = ends.enter_context(Child('server', command, self._cores[0]))
        said = child.expect('LISTENING', START_SECONDS)
        if stack.picks_port:
            if not said.isdigit():
                raise Broken('server', f'did not say its port; it printed: LISTENING {said}')
            port = int(said)
        return child, port

    def _resident(self):
        return self.client.resident_kib(), self.server.resident_kib()


def measured(server, client, workload, seconds):
    """The figures of one run, each named for what it is."""
    with Run(server, client, workload, seconds) as run:
        run.begin()
        began, (used, stolen) = time.monotonic(), machine.load()
        cpu = [c.cpu_seconds() for c in (run.client, run.server)]
        run.end()
        cpu = [c.cpu_seconds() - before for c, before in zip((run.client, run.server), cpu)]
        took, (used_then, stolen_then) = time.monotonic() - began, machine.load()
        result = run.figures()
        client_cpu, server_cpu = (1e6 * c / result['n'] for c in cpu)
        figures = {
            'requests': result['n'],
            'seconds': result['secs'],
            'requests_per_second': result['rps'],
            'p50_us': result['p50'],
            'p99_us': result['p99'],
            'p999_us': result['p999'],
            'client_cpu_us': round(client_cpu, 4),
            'server_cpu_us': round(server_cpu, 4),
            'other': round((used_then - used - sum(cpu)) / took, 3),
            'steal': round((stolen_then - stolen) / took, 3),
        }
        if workload.connections >= 1000:
            figures |= {'client_kib': round(run.kib[0], 3), 'server_kib': round(run.kib[1], 3)}
        return figures


def allocations(stack, workload, seconds):
    """Heap allocations a request, of the client and of the server; None for what does not count its own."""
    server, client = stack.counting

    def asked(child):
        child.signal(signal.SIGUSR1)
        words = child.expect('A', START_SECONDS).split()
        if len(words) != 2 or not all(w.isdigit() for w in words):
            raise Broken('server', f'did not say what it allocated; it printed: A {" ".join(words)}')
        return [int(w) for w in words]

    counting = dataclasses.replace(stack, server=server, client=client)
    with Run(counting, counting, workload, seconds) as run:
        run.begin()
        before = asked(run.server)
        run.end()
        allocated, answered = (now - then for now, then in zip(asked(run.server), before))
        result = run.figures()
        return result.get('allocs'), allocated / max(answered, 1)


def system_calls(stack, workload):
    """System calls a request by name, of the client and of the server: what a longer run makes more than a short."""
    with tempfile.TemporaryDirectory() as folder:
        short = _traced(stack, workload, 0.05, 0.05, pathlib.Path(folder, 'short'))
        longer = _traced(stack, workload, 0.5, 0.1, pathlib.Path(folder, 'longer'))
    requests = longer[0] - short[0]
    if requests <= 0:
        raise Broken('client', 'made no more requests in the longer run than in the short one')
    return [{name: n / requests for name, n in (more - less).items()} for less, more in zip(short[1:], longer[1:])]


def _traced(stack, workload, seconds, warm_up, folder):
    """The requests of a run, with those of the warm-up, and the system calls of its client and of its server."""
    folder.mkdir()

    def wrap(side, command):  # -D: the program is our child, and strace is beside it
        return ['strace', '-D', '-c', '-f', '-U', 'name,calls', '-o', str(folder / side), *command]

    with Run(stack, stack, workload, seconds, warm_up, wrap) as run:
        run.begin()
        run.end()
        requests = run.figures()['total']
        run.server.wait_until_idle(START_SECONDS)  # it has seen that the connections are closed
        run.server.signal(signal.SIGTERM)
        run.server.wait_for_end(START_SECONDS)
    return requests, _summary('client', folder / 'client'), _summary('server', folder / 'server')


def _summary(side, file):
    """strace writes it after the program has ended."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        text = file.read_text(encoding='utf-8') if file.exists() else ''
        calls = dict(re.findall(r'^(\w+)\s+(\d+)$', text, re.M))
        if calls.pop('total', None):
            return collections.Counter({name: int(n) for name, n in calls.items()})
        time.sleep(0.02)
    raise Broken(side, 'was traced in vain: strace gave no summary')
