"""What a request costs, in figures that noise cannot move, against what is allowed.

costs.py BUILD [--only W1,W3] [--record]: BUILD is a release build of Meson's by g++ in which apps/bench/bench can be
built. For the client and for the server: heap allocations, instructions (callgrind) and system calls (strace) a
request, and memory a connection. Instructions and calls are those of a run of 2 N requests less those of N, by N, with
one side under the tool and the other outside it. `pipeline` is what middleware and observers add to a session,
`three layers` what deadline, retry and metrics do.

A figure fails that is above its baseline and a tolerance, measured twice; one far below the baseline says so. --record
writes baseline.json. It prints a table, and last `N passed, N failed`.
"""

import argparse
import collections
import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / 'baseline.json'
SIDES = ('client', 'server')

IDLE = 2000  # connections whose memory is measured
WORKLOADS = {
    'W1': ('--conns', '1'),
    'W2': ('--conns', '64'),
    'W3': ('--conns', '1', '--window', '128'),
    'W4': ('--conns', str(IDLE), '--active', '250'),
    'W5': ('--w5',),
}
# N of each measurement. In W3 a multiple of the window: then runs differ by whole batches.
ALLOCATIONS = {'W1': 4000, 'W2': 6400, 'W3': 12800, 'W5': 2000}
INSTRUCTIONS = {'W1': 2000, 'W3': 6400}
STACKS = ('W3', 'client')  # where stacks of layers are compared: metrics, deadline, retry; and limit, rate, breaker beside
CALLS = {'W1': 200, 'W2': 6400, 'W3': 12800, 'W5': 100}

# Where each request is a race, whether a side finds the answer there or has to sleep is chance. Its system calls are
# counted with the other side made slow: then it has always gone to sleep, which takes the most calls. With many requests
# under way it is the batches that count, and they are even when both sides take turns (see `main`).
SLOW_OTHER = ('W1', 'W5')
SENDS = 'connect,sendmsg,sendto,write,writev,shutdown,close'
SLOW = ['strace', '-f', '-o', os.devnull, '-e', f'trace={SENDS}', '-e', f'inject={SENDS}:delay_enter=1000']

ONE_RUN = 40  # seconds
ALL_RUNS = 300
BUILDING = 1200

# The C library chooses its string functions by the processor; these every one has. And what is bound at the first call
# would be counted with the requests.
ENVIRONMENT = {
    'GLIBC_TUNABLES': 'glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-RTM,-BMI2',
    'LD_BIND_NOW': '1',
}


class Trouble(Exception):
    """A figure could not be had."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """What is measured; above its baseline are allowed `share` of it and `slack`."""
    name: str
    share: float
    slack: float
    digits: int

    def allowed(self, baseline):
        return baseline * (1 + self.share) + (self.slack if baseline else self.slack * (self.share > 0))

    def better(self, value, baseline):
        return value < 0.9 * baseline - self.slack


# No allocation is no allocation. Where there are some, the server's are counted between two moments that may each be in
# the midst of a request.
UNITS = {
    'allocations': Unit('allocations', 0, 0.05, 3),
    'instructions': Unit('instructions', 0.05, 0, 1),
    'pipeline': Unit('pipeline', 0.05, 50, 1),
    'calls': Unit('system calls', 0.05, 0.02, 3),
    'memory': Unit('bytes', 0.05, 16, 0),
}


class Program:
    """bench in one of its roles, perhaps under a tool; in a group of its own, that can be ended whole."""

    def __init__(self, command, until, tool=()):
        self.until = until
        self.traced = tool and pathlib.Path(tool[0]).name == 'strace'
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([*tool, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, bufsize=0, env={**os.environ, **ENVIRONMENT},
                                        start_new_session=True)
        self.read = b''

    def pid(self):
        """The program itself: strace's child, but callgrind becomes what it runs."""
        if not self.traced:
            return self.process.pid
        me = self.process.pid
        children = pathlib.Path(f'/proc/{me}/task/{me}/children').read_text(encoding='ascii').split()
        if not children:
            raise Trouble(f'strace ended: {self.complaint()}')
        return int(children[0])

    def complaint(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors='replace').strip()[-500:]

    def line(self):
        while b'\n' not in self.read:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, self.until - time.monotonic()))
            if not ready:
                raise Trouble('it took too long')
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise Trouble(f'bench ended: {self.complaint()}')
            self.read += more
        line, self.read = self.read.split(b'\n', 1)
        return line.decode()

    def expect(self, word):
        line = self.line()
        if not line.startswith(word):
            raise Trouble(f'bench said "{line}" instead of {word}')
        return line[len(word):].strip()

    def go(self):
        self.process.stdin.write(b'\n')

    def counts(self):
        """A server's allocations and answers until now."""
        os.kill(self.pid(), signal.SIGUSR1)
        return tuple(map(int, self.expect('A').split()))

    def memory(self):
        """Bytes of its own; pages of files come when they are first used, and would be noise."""
        rollup = pathlib.Path(f'/proc/{self.pid()}/smaps_rollup').read_text(encoding='ascii')
        return 1024 * int(re.search(r'^Anonymous: +(\d+)', rollup, re.M)[1])

    def settle(self):
        """Waits until it has nothing to do: its processor time stands still."""
        clock = (~self.pid() << 3) | 2  # as clock_getcpuclockid() makes it
        before, still = -1.0, 0
        while still < 3 and time.monotonic() < self.until:
            now = time.clock_gettime(clock)
            still = still + 1 if now == before else 0
            before = now
            time.sleep(0.01)

    def end(self):
        """So that a tool writes down what it counted."""
        os.kill(self.pid(), signal.SIGTERM)
        try:
            self.process.wait(max(0.1, self.until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Trouble('it did not end when told') from None

    def destroy(self):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            file.close()


class Bench:
    """Runs of the client against the server."""

    def __init__(self, program, scratch):
        self.program = str(program)
        self.scratch = pathlib.Path(scratch)
        self.ends = time.monotonic() + ALL_RUNS

    @contextlib.contextmanager
    def pair(self, work, requests, *, warm='0', layers='all', tools=None):
        """A server, and a client that has said INIT."""
        until = min(self.ends, time.monotonic() + ONE_RUN)
        how = ['--layers', layers]
        tools = tools or {}
        with contextlib.ExitStack() as stack:
            def start(role, *args):
                program = Program([self.program, role, *args, *how], until, tools.get(role, ()))
                stack.callback(program.destroy)
                return program
            server = start('server', '--port', '0')
            port = server.expect('LISTENING')
            client = start('client', '--port', port, *WORKLOADS[work], '--warm', warm, '--secs', '600', '--maxreq',
                           str(requests))
            client.expect('INIT')
            yield client, server

    def allocations(self, work):
        """In steady state: side -> allocations a request."""
        with self.pair(work, ALLOCATIONS[work], warm='0.1') as (client, server):
            client.go()
            client.expect('READY')
            client.go()
            client.expect('START')
            before = server.counts()
            client.expect('END')
            after = server.counts()
            client.go()
            result = json.loads(client.expect('RESULT'))
        if after[1] == before[1]:
            raise Trouble('the server counted no answers')
        return {'client': result['allocs'], 'server': (after[0] - before[0]) / (after[1] - before[1])}

    def memory(self):
        """side -> bytes a connection that has nothing to do, but had."""
        with self.pair('W4', 1) as (client, server):
            both = {'client': client, 'server': server}
            before = {side: program.memory() for side, program in both.items()}
            client.go()
            client.expect('READY')
            server.settle()
            return {side: (program.memory() - before[side]) / IDLE for side, program in both.items()}

    def counted(self, tool, work, side, requests, layers):
        """What the tool wrote, and the requests that this side had."""
        out = self.scratch / 'out'
        out.unlink(missing_ok=True)
        command = {'callgrind': ['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}'],
                   'strace': ['strace', '-f', '-c', '-U', 'name,calls', '-o', str(out)]}[tool]
        tools = {side: command}
        if tool == 'strace' and work in SLOW_OTHER:
            tools['server' if side == 'client' else 'client'] = SLOW
        with self.pair(work, requests, layers=layers, tools=tools) as (client, server):
            client.go()
            client.expect('READY')
            client.go()
            client.expect('START')
            client.expect('END')  # here it waits, before it makes statistics
            server.settle()
            if side == 'server':
                _, requests = server.counts()
            {'client': client, 'server': server}[side].end()
            if not out.exists():
                raise Trouble(f'{tool} wrote nothing')
            return out.read_text(encoding='utf-8'), requests

    def instructions(self, work, side, layers):
        def run(requests):
            text, had = self.counted('callgrind', work, side, requests, layers)
            return int(re.search(r'^totals: (\d+)', text, re.M)[1]), had
        (few, n), (many, m) = run(INSTRUCTIONS[work]), run(2 * INSTRUCTIONS[work])
        return (many - few) / (m - n)

    def calls(self, work, side):
        """name -> calls a request"""
        def run(requests):
            text, had = self.counted('strace', work, side, requests, 'all')
            return collections.Counter({name: int(calls) for name, calls in
                                        re.findall(r'^(\w+) +(\d+)$', text, re.M) if name != 'total'}), had
        (few, n), (many, m) = run(CALLS[work]), run(2 * CALLS[work])
        many.subtract(few)
        by_name = {name: round(count / (m - n), 3) for name, count in many.most_common()}
        return {name: calls for name, calls in by_name.items() if abs(calls) >= 0.002}


class Gate:
    """Figures beside their baselines."""

    def __init__(self, baseline, record):
        self.baseline = baseline
        self.record = record
        self.passed = self.failed = 0

    def check(self, what, unit, measure, note=lambda: ''):
        """`measure` is asked again if it fails or gives too much: what is too much once may be the machine's doing."""
        unit, value, trouble = UNITS[unit], None, None
        baseline = self.baseline.get(what)
        for _ in range(2):
            try:
                again = round(measure(), unit.digits)
                value = again if value is None else min(value, again)
            except (Trouble, OSError) as e:
                trouble = e
                continue
            if self.record or (baseline is not None and value <= unit.allowed(baseline)):
                break
        if value is None:
            self.row(what, '-', '-', False, f'not measured: {trouble}')
        elif self.record:
            self.baseline[what] = value
            self.row(what, self.text(value, unit), self.text(unit.allowed(value), unit), True,
                     f'recorded  {note()}' if baseline is None else f'recorded, was {self.text(baseline, unit)}  {note()}')
        elif baseline is None:
            self.row(what, self.text(value, unit), '-', False, 'has no baseline: record it')
        else:
            fine = value <= unit.allowed(baseline)
            says = ('better: record it  ' if unit.better(value, baseline) else '') if fine else 'TOO MUCH  '
            self.row(what, self.text(value, unit), self.text(unit.allowed(baseline), unit), fine, says + note())

    def row(self, what, measured, allowed, fine, says):
        self.passed += fine
        self.failed += not fine
        print(f'{what:28} {measured:>10} {allowed:>10}  {says}'.rstrip(), flush=True)

    @staticmethod
    def text(value, unit):
        return f'{value:,.{unit.digits}f}'


class Lately:
    """What a measurement of both sides gave: the second side takes what was measured for the first."""

    def __init__(self, measure):
        self.measure = measure
        self.left = {}

    def of(self, side):
        if side not in self.left:
            self.left = dict(self.measure())
        return self.left.pop(side)


def check_all(bench, gate, only):
    """In each workload, all that is measured there."""
    print(f'{"a request of":28} {"measured":>10} {"allowed":>10}')
    for work in only:
        if work == 'W4':
            memory = Lately(bench.memory)
            for side in SIDES:
                gate.check(f'W4 {side} bytes/connection', 'memory', lambda s=side, m=memory: m.of(s))
            continue
        allocations = Lately(lambda w=work: bench.allocations(w))
        for side in SIDES:
            gate.check(f'{work} {side} allocations', 'allocations', lambda s=side, a=allocations: a.of(s))
        for side in SIDES:
            if work in INSTRUCTIONS:
                check_instructions(bench, gate, work, side)
            check_calls(bench, gate, work, side)


def check_instructions(bench, gate, work, side):
    latest = {}

    def measured(layers):
        latest[layers] = bench.instructions(work, side, layers)
        return latest[layers]

    def more(layers):
        """Than a bare session takes; measured anew when it is too much."""
        both = [latest.pop(which) if which in latest else bench.instructions(work, side, which)
                for which in ('none', layers)]
        latest['none'] = both[0]
        return both[1] - both[0]

    gate.check(f'{work} {side} instructions', 'instructions', lambda: measured('all'))
    gate.check(f'{work} {side} bare', 'instructions', lambda: measured('none'))
    gate.check(f'{work} {side} pipeline', 'pipeline', lambda: more('all'))
    if (work, side) == STACKS:
        gate.check(f'{work} {side} three layers', 'pipeline', lambda: more('three'))
        gate.check(f'{work} {side} six layers', 'pipeline', lambda: more('six'))


def check_calls(bench, gate, work, side):
    latest = {}

    def total():
        latest.clear()
        latest.update(bench.calls(work, side))
        return sum(latest.values())

    gate.check(f'{work} {side} system calls', 'calls', total,
               lambda: ' '.join(f'{name} {calls:.2f}' for name, calls in latest.items() if abs(calls) >= 0.005))


def refuse(sentence):
    print(f'costs: {sentence}', file=sys.stderr)
    sys.exit(4)


def built(build):
    """The program, and by what it was made."""
    described = build / 'meson-info/intro-buildoptions.json'
    if not described.exists():
        refuse(f'{build} is no build folder of Meson\'s.')
    options = {option['name']: option['value'] for option in json.loads(described.read_text(encoding='utf-8'))}
    if options['b_sanitize'] != 'none':
        refuse(f'{build.name} has a sanitizer in it, whose work would be counted; name a release build.')
    if options['buildtype'] != 'release':
        refuse(f'{build.name} is a {options["buildtype"]} build; the baseline is of a release build.')
    for tool in ('ninja', 'valgrind', 'strace'):
        if shutil.which(tool) is None:
            refuse(f'{tool} is missing; scripts/setup bench installs it.')
    done = subprocess.run(['ninja', 'apps/bench/bench'], cwd=build, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', timeout=BUILDING, check=False)
    if done.returncode != 0:
        print(done.stdout[-3000:], file=sys.stderr)
        refuse('apps/bench/bench does not build.')
    program = build / 'apps/bench/bench'
    said = program.read_bytes()
    gnu = re.search(rb'GCC: \([^)]*\) ([\d.]+)', said)
    if b'clang version' in said or gnu is None:
        refuse(f'{build.name} was not made by g++, of which the baseline is.')
    return program, f'g++ {gnu[1].decode()}'


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('build', type=pathlib.Path)
    arguments.add_argument('--only', default=','.join(WORKLOADS), help='some of: %(default)s')
    arguments.add_argument('--record', action='store_true', help='what is measured becomes the baseline')
    given = arguments.parse_args()
    only = given.only.split(',')
    if set(only) - set(WORKLOADS):
        arguments.error(f'there is no such workload; there are: {", ".join(WORKLOADS)}')
    program, compiler = built(given.build.resolve())
    recorded = json.loads(BASELINE.read_text(encoding='utf-8')) if BASELINE.exists() else {}
    if not given.record and recorded.get('compiler') not in (None, compiler):
        print(f'The baseline is of {recorded["compiler"]}, this is {compiler}: the figures may differ.')

    # 2,000 connections are as many descriptors; and huge pages would make steps of 1 KiB a connection.
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < IDLE + 100:
        refuse(f'W4 needs {IDLE + 100} open files, and {most} are allowed (ulimit -Hn).')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, IDLE + 100), most))
    # On one processor, where nobody is interrupted for the sake of who has just been woken, the sides take turns.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE, for the children too

    gate = Gate(recorded.get('figures', {}), given.record)
    with tempfile.TemporaryDirectory() as scratch:
        check_all(Bench(program, scratch), gate, only)
    if given.record:
        BASELINE.write_text(json.dumps({'compiler': compiler, 'figures': gate.baseline}, indent=2) + '\n',
                            encoding='utf-8')
    print(f'{gate.passed} passed, {gate.failed} failed')
    sys.exit(gate.failed != 0)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
