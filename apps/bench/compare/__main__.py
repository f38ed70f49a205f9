"""Measures stacks side by side. scripts/bench builds what it needs, and calls it; its --help says how."""

import collections
import datetime
import json
import pathlib
import shutil
import signal
import sys

import machine
import measure
import options
import plot
import report
from child import Broken
from progress import Progress
from stacks import BASE, PAIRS, WORKLOADS

FAILURES_MAX = 2  # after so many, the same is not tried again
ENVIRONMENT = 4  # the exit code


class Stopped(BaseException):
    """A signal asks to end."""


def stop_on_signals():
    signals = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]

    def stop(number, _):
        for each in signals:
            signal.signal(each, signal.SIG_IGN)  # what follows is short, and is not to be interrupted
        raise Stopped(number)

    for each in signals:
        signal.signal(each, stop)


class Job:
    """One thing to measure."""

    def __init__(self, number, workload, pairs, server, client):
        self.number, self.workload, self.pairs = number, workload, pairs
        self.server, self.client = server, client
        self.key = workload.name, pairs, server.name, client.name
        measured = server if pairs == 'client' else client
        self.name = f'{workload.name} {measured.name}' + (f' ({PAIRS[pairs]})' if pairs != 'own' else '')


def plan(o):
    """A B C … A B C …: what is compared stands close together in time."""
    base = next((s for s in o.stacks if s.name == BASE), None)  # there is one if any but own pairs are asked for
    return [Job(number, workload, pairs, base if pairs == 'server' else stack, base if pairs == 'client' else stack)
            for number in range(1, o.rounds + 1) for workload in o.workloads for pairs in o.pairs
            for stack in o.stacks if stack.is_in(pairs)]


class Jobs:
    """Does them one after the other. What fails is told in a sentence, and the rest goes on."""

    def __init__(self, jobs, progress, open_files):
        self._jobs, self._progress, self._open_files = jobs, progress, open_files
        self._failures = collections.Counter()

    @property
    def failed(self):
        return sum(self._failures.values())

    def do(self, act, tell=lambda job, result: job.name):
        """Yields (job, act(job)) of those that went well."""
        for job in self._jobs:
            if self._failures[job.key] >= FAILURES_MAX:
                self._progress.skip()
                continue
            self._progress.begin(job.name)
            try:
                if job.workload.connections + 50 > self._open_files:
                    raise Broken('server', f'needs {job.workload.connections + 50} open files, and may have '
                                           f'{self._open_files} here (ulimit -Hn)')
                result = act(job)
            except Broken as error:
                self._failures[job.key] += 1
                stack = job.server if error.side == 'server' else job.client
                given_up = '; it is not tried again' if self._failures[job.key] == FAILURES_MAX else ''
                self._progress.complain(f'{job.name}, round {job.number}: the {error.side} of {stack.name} {error}'
                                        f'{given_up}.')
                self._progress.finish('')
            else:
                yield job, result
                self._progress.finish(tell(job, result))


def keep_older(file):
    """What was recorded before is not lost."""
    if file.exists() and file.stat().st_size > 0:
        of = datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.timezone.utc)
        file.rename(file.with_name(f'{file.stem}-{of:%Y%m%d-%H%M%S}{file.suffix}'))


def one_line(job, run):
    quiet = '' if report.is_quiet(run) else f', not quiet: others {run["other"]}, steal {run["steal"]}'
    if job.workload.by_time:
        figure = f'p50 {report.number(run["p50_us"])} µs'
    else:
        figure = f'{report.number(report.capacity(run))} requests/s by CPU'
    return (f'{job.name}, round {job.number}: {figure}, p99 {report.number(run["p99_us"])} µs, CPU '
            f'{report.number(run["client_cpu_us"])} + {report.number(run["server_cpu_us"])} µs{quiet}')


def measure_all(o, jobs, runs, record):
    constant = {'commit': machine.commit(options.TOP), 'machine': machine.description()}

    def act(job):
        machine.wait_until_quiet(o.patience)
        figures = measure.measured(job.server, job.client, job.workload, o.seconds)
        now = datetime.datetime.now(datetime.timezone.utc)
        return {'workload': job.workload.name, 'pairs': job.pairs, 'server': job.server.name,
                'client': job.client.name, 'round': job.number, **figures,
                'date': now.isoformat(timespec='seconds'), **constant}

    for _, run in jobs.do(act, one_line):
        runs.append(run)
        print(json.dumps(run, ensure_ascii=False), file=record, flush=True)


def recorded(files):
    """The runs in files; rounds of different files are different rounds."""
    runs = []
    for file in files:
        before = max((r['round'] for r in runs), default=0)
        try:
            for line in file.read_text(encoding='utf-8').splitlines():
                run = json.loads(line)
                if run['workload'] not in WORKLOADS or run['pairs'] not in PAIRS:
                    raise KeyError
                report.compared(run)
                run['round'] += before
                runs.append(run)
        except OSError as error:
            options.wrong(f"--table cannot read '{file}': {error.strerror}")
        except (ValueError, KeyError, TypeError):
            options.wrong(f"--table wants files of runs as scripts/bench writes them, and '{file}' is none")
    if not runs:
        options.wrong('--table was given files without any run')
    return runs


def show(o, runs):
    """Prints the tables and writes them and the plots to the folder."""
    tables = report.tables(runs)
    if not tables:
        return
    print(tables, end='', flush=True)
    (o.out / 'tables.md').write_text(tables, encoding='utf-8')
    written = ['tables.md']
    for pairs in PAIRS:
        drawn = plot.svg(runs, pairs)
        if drawn:
            name = 'ratios.svg' if pairs == 'own' else f'ratios-{pairs}.svg'
            (o.out / name).write_text(drawn, encoding='utf-8')
            written.append(name)
    if len(written) == 1:
        print(f'bench: no plot: nothing was measured beside {BASE}.', file=sys.stderr)
    print(f'bench: {", ".join(written)} are in {o.out}', file=sys.stderr)


def count(o, jobs, act, to_table, name):
    """A mode that counts: one table, which is printed and written."""
    found = []
    try:
        for job, result in jobs.do(act):
            found.append((job.workload.name, job.client.name, *result))
    finally:
        if found:
            table = to_table(found)
            print(table, end='', flush=True)
            (o.out / name).write_text(table, encoding='utf-8')


def run(o):
    missing = [file for stack in o.stacks for file in stack.missing()]
    if missing:
        print(f'bench: there is no {missing[0]}; scripts/bench builds it.', file=sys.stderr)
        return ENVIRONMENT
    if o.syscalls and not shutil.which('strace'):
        print('bench: there is no strace; scripts/setup bench installs it.', file=sys.stderr)
        return ENVIRONMENT
    if o.syscalls or o.allocations:
        o.rounds = 1
    if o.allocations:
        for stack in o.stacks:
            if not stack.counting:
                print(f'bench: {stack.name} does not count its allocations, and is left out.', file=sys.stderr)
        o.stacks = [stack for stack in o.stacks if stack.counting]

    planned = plan(o)
    progress = Progress((job.workload.name, o.seconds + measure.WARM_UP + 0.5) for job in planned)
    jobs = Jobs(planned, progress, machine.allow_open_files())
    runs = []
    stopped_by = 0
    try:
        stop_on_signals()
        if o.syscalls:
            count(o, jobs, lambda job: [measure.system_calls(job.client, job.workload)], report.call_table,
                  'syscalls.md')
        elif o.allocations:
            count(o, jobs, lambda job: measure.allocations(job.client, job.workload, o.seconds),
                  report.allocation_table, 'allocations.md')
        else:
            file = o.out / 'runs.jsonl'
            keep_older(file)
            with file.open('w', encoding='utf-8') as record:
                measure_all(o, jobs, runs, record)
    except Stopped as stopped:
        stopped_by = stopped.args[0]
        progress.clear()
        print(f'bench: stopped after {len(runs)} runs of {len(planned)}; these are their tables.' if runs else
              'bench: stopped.', file=sys.stderr)
    progress.clear()
    show(o, runs)
    if jobs.failed:
        print(f'bench: {jobs.failed} runs failed; the sentences above say which and how.', file=sys.stderr)
    if stopped_by in (signal.SIGINT, signal.SIGHUP):  # a shell's loop ends, too
        signal.signal(stopped_by, signal.SIG_DFL)
        signal.raise_signal(stopped_by)
    return 128 + stopped_by if stopped_by else 1 if jobs.failed else 0


def main():
    o = options.read(sys.argv[1:])
    if o.check_only:
        return 0
    runs = recorded(o.table) if o.table else []
    try:
        o.out.mkdir(parents=True, exist_ok=True)
        if not runs:
            return run(o)
        show(o, runs)
        return 0
    except OSError as error:
        where = f'{pathlib.Path(error.filename).name}: ' if error.filename else ''
        print(f'bench: this machine cannot do it now: {where}{error.strerror}.', file=sys.stderr)
        return ENVIRONMENT


if __name__ == '__main__':
    sys.exit(main())
