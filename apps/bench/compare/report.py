"""What runs come to: medians, ratios to the limit in the same round, and tables of them in Markdown."""

import dataclasses
import statistics

import machine
from stacks import BASE, PAIRS, WORKLOADS


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How a stack stands to the limit: the median of the rounds, and the least and the greatest."""
    median: float
    least: float
    most: float
    rounds: int

    def inverted(self):
        return Ratio(1 / self.median, 1 / self.most, 1 / self.least, self.rounds)


def is_quiet(run):
    return run['other'] <= machine.QUIET and run['steal'] <= machine.QUIET


def capacity(run):
    """Requests a second that the processor of the busier side can do; of the side in question, if it is one."""
    cpu = {'own': max(run['client_cpu_us'], run['server_cpu_us']), 'server': run['client_cpu_us'],
           'client': run['server_cpu_us']}[run['pairs']]
    return 1e6 / cpu if cpu > 0 else 0.0


def compared(run):
    return run['p50_us'] if WORKLOADS[run['workload']].by_time else capacity(run)


class Group:
    """The runs of one workload with one kind of pairs, by stack."""

    def __init__(self, pairs, workload, runs):
        self.pairs, self.workload = pairs, workload
        self._runs = {}
        for run in runs:
            stack = run['server'] if pairs == 'client' else run['client']
            self._runs.setdefault(stack, []).append(run)
        self.stacks = list(self._runs)

    def all(self, stack):
        return self._runs[stack]

    def chosen(self, stack):
        """The runs of which medians are taken: those on a quiet machine, if there are enough."""
        quiet = [r for r in self._runs[stack] if is_quiet(r)]
        return quiet if len(quiet) >= 3 else self._runs[stack]

    def ratio(self, stack):
        """Figure by figure of the limit in the same round, or None without one."""
        if BASE not in self._runs:
            return None

        def by_round(choose):
            base, own = ({r['round']: compared(r) for r in choose(s)} for s in (BASE, stack))
            return [own[n] / base[n] for n in own if base.get(n)]

        ratios = by_round(self.chosen)
        if len(ratios) < 3:
            ratios = by_round(self.all)
        if not ratios or min(ratios) <= 0:
            return None
        return Ratio(statistics.median(ratios), min(ratios), max(ratios), len(ratios))

    def speed(self, stack):
        """The ratio turned so that more is better."""
        ratio = self.ratio(stack)
        return ratio.inverted() if ratio and self.workload.by_time else ratio


def groups(runs):
    return [Group(pairs, workload, found) for pairs in PAIRS for workload in WORKLOADS.values()
            if (found := [r for r in runs if r['pairs'] == pairs and r['workload'] == workload.name])]


def number(n):
    if n is None:
        return '–'
    return f'{n:,.0f}' if n >= 1000 else f'{n:.1f}' if n >= 10 else f'{n:.2f}'


def short(ratio):
    return f'{ratio:.2f}' if ratio >= 0.1 else f'{ratio:.3f}'


def with_spread(ratio):
    if ratio.least == ratio.most:
        return short(ratio.median)
    return f'{short(ratio.median)} ({short(ratio.least)} … {short(ratio.most)})'


def origin(runs):
    """When, from which source and where these runs were made."""
    days = sorted({r['date'][:10] for r in runs})
    commits = sorted({r['commit'] for r in runs if r['commit']})
    machines = sorted({r['machine'] for r in runs})
    when = days[0] if len(days) == 1 else f'{days[0]} to {days[-1]}'
    return '; '.join([when, *(f'commit {c}' for c in commits), *machines])


# (field or function, heading), after the stack
COLUMNS = {
    True: (('p50_us', 'p50 µs'), ('p99_us', 'p99 µs'), ('p999_us', 'p99.9 µs'), ('client_cpu_us', 'client CPU µs'),
           ('server_cpu_us', 'server CPU µs')),
    False: ((capacity, 'requests/s by CPU'), ('requests_per_second', 'requests/s'), ('p50_us', 'p50 µs'),
            ('p99_us', 'p99 µs'), ('p999_us', 'p99.9 µs'), ('client_cpu_us', 'client CPU µs'),
            ('server_cpu_us', 'server CPU µs')),
}
RESIDENT = (('client_kib', 'client KiB/connection'), ('server_kib', 'server KiB/connection'))

NOTES = f"""\
Medians; in brackets the least and the greatest. CPU is processor time a request. Requests/s by CPU are what the busier
side's processor can do; where one side is that of {BASE}, what the other side's can do. × {BASE} is the ratio to {BASE}
in the same round. A run is quiet if others used at most {machine.QUIET} processors meanwhile, and no more was stolen;
where three or more are, the others are left out.
"""


def row(cells):
    return '| ' + ' | '.join(cells) + ' |'


def table(group):
    by_time = group.workload.by_time
    columns = COLUMNS[by_time] + (RESIDENT if group.workload.connections >= 1000 else ())
    better = 'less is better' if by_time else 'more is better'
    headings = ['stack', *(heading for _, heading in columns), f'least … greatest {columns[0][1]}',
                f'× {BASE} ({better})', 'runs (quiet)']
    lines = [row(headings), row(['---'] + ['---:'] * (len(headings) - 1))]
    for stack in group.stacks:
        chosen, everything = group.chosen(stack), group.all(stack)

        def values(what, runs):
            found = [what(r) if callable(what) else r.get(what) for r in runs]
            return [v for v in found if v is not None]

        cells = [stack]
        for what, _ in columns:
            found = values(what, chosen)
            cells.append(number(statistics.median(found) if found else None))
        spread = values(columns[0][0], chosen)
        cells.append(f'{number(min(spread))} … {number(max(spread))}')
        ratio = group.ratio(stack)
        cells.append(with_spread(ratio) if ratio else '–')
        cells.append(f'{len(everything)} ({sum(map(is_quiet, everything))})')
        lines.append(row(cells))
    return '\n'.join(lines)


def tables(runs):
    """Everything in Markdown, or an empty text without runs."""
    if not runs:
        return ''
    other, steal = (statistics.median(r[k] for r in runs) for k in ('other', 'steal'))
    parts = ['# Beside the limit', origin(runs) + '.', NOTES.rstrip() +
             f'\nOf all runs, others used {other:.2f} processors, and {steal:.2f} were stolen, as medians.']
    pairs = None
    for group in groups(runs):
        if group.pairs != pairs:
            pairs = group.pairs
            parts.append(f'## {PAIRS[pairs][0].upper() + PAIRS[pairs][1:]}')
        parts.append(f'### {group.workload.name}: {group.workload.title}')
        parts.append(table(group))
    return '\n\n'.join(parts) + '\n'


def call_table(found):
    """System calls a request, of (workload, stack, {name: calls} of the client and of the server)."""
    lines = [row(['workload', 'stack', 'client', 'server']), row(['---'] * 4)]
    for workload, stack, sides in found:
        lines.append(row([workload, stack, *map(calls, sides)]))
    return '# System calls a request\n\n' + '\n'.join(lines) + '\n'


def calls(side):
    """In the order of how often; what a request does not cause comes to nearly nothing, and is left out."""
    named = sorted(((n, name) for name, n in side.items() if n >= 0.005), reverse=True)
    total = sum(n for n, _ in named)
    return f'{total:.2f}' + (f' ({", ".join(f"{name} {n:.2f}" for n, name in named)})' if named else '')


def allocation_table(found):
    """Heap allocations a request, of (workload, stack, those of the client, those of the server)."""
    lines = [row(['workload', 'stack', 'client', 'server']), row(['---', '---', '---:', '---:'])]
    for workload, stack, client, server in found:
        lines.append(row([workload, stack, *('–' if n is None else f'{n:.2f}' for n in (client, server))]))
    return '# Heap allocations a request\n\n' + '\n'.join(lines) + '\n'
