"""The command line of scripts/bench."""

import argparse
import pathlib
import sys

from stacks import BASE, DEFAULT, PAIRS, PEERS, WORKLOADS, in_folder, in_repository

TOP = pathlib.Path(__file__).resolve().parents[3]

EPILOG = f"""\
workloads:
{chr(10).join(f'  {w.name}  {w.title}' for w in WORKLOADS.values())}

stacks:
  limit        what the kernel allows: epoll, preformatted bytes, no JSON library
  asio         Boost.Asio and Boost.JSON as written by hand
  cleat        ours, with its whole default pipeline
  cleat-bare   ours, without middleware and observers
  cleat-three  its client with metrics, deadline and retry
  cleat-six    its client with these, limit, rate and breaker
  cleat-spin, limit-spin
               the same, asking the kernel again instead of sleeping
  tokio, tower, go, b2 (Asio by hand), b4 (Asio tuned by hand)
               from the folder given by --peers, as far as they are built there

With --out, runs.jsonl has a line for each run, tables.md the tables, and ratios.svg the plot (ratios-server.svg and
ratios-client.svg for the other pairs). A runs.jsonl that is there already is kept under the name of its time.

examples:
  scripts/bench
  scripts/bench --workloads W2,W3 --stacks limit,cleat --rounds 10 --pairs all
  scripts/bench --peers ../peers --stacks limit,cleat,tokio,tower
  scripts/bench --syscalls --workloads W1,W3
  scripts/bench --table build/bench-results/runs.jsonl

exit codes:
  0 measured   1 some run failed   2 bad usage   4 it could not be built or run here   130 stopped by Ctrl-C
"""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f'bench: {message}; see --help.', file=sys.stderr)
        sys.exit(2)


def wrong(sentence):
    print(f'bench: {sentence}.', file=sys.stderr)
    sys.exit(2)


def words_of(option, given, known):
    """The words of a list with commas, each of them known, each once."""
    found = list(dict.fromkeys(word.strip() for word in given.split(',')))
    for word in found:
        if word not in known:
            wrong(f"{option} has no '{word}'; there are: {', '.join(known)}")
    return found


def number_of(option, given, kind, least, most):
    try:
        n = kind(given)
    except ValueError:
        n = None
    if n is None or not least <= n <= most:
        whole = 'a whole number' if kind is int else 'a number'
        wrong(f"{option} wants {whole} from {least} to {most}, not '{given}'")
    return n


def read(arguments):
    parser = Parser(prog='scripts/bench', allow_abbrev=False, epilog=EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter,
                    description='Measures cleat beside what the kernel allows and beside others, in rounds that '
                                'interleave them, and prints tables.')
    add = parser.add_argument
    add('--workloads', metavar='W1,…', default=','.join(WORKLOADS), help='which (default: all)')
    add('--stacks', metavar='NAME,…', help=f'which (default: {",".join(DEFAULT)}, and what --peers has)')
    add('--rounds', metavar='N', default='5', help='how often each is measured (default: 5)')
    add('--pairs', metavar='KIND,…', default='own',
        help='own: client and server of each stack (default); server: each client against the server of limit; client: '
             'the client of limit against each server; all: all three')
    add('--seconds', metavar='S', default='1', help='how long each run measures (default: 1)')
    add('--patience', metavar='S', default='5',
        help='how long to wait at most, before each run, for others to be quiet (default: 5)')
    add('--out', metavar='FOLDER', type=pathlib.Path, default=TOP / 'build' / 'bench-results',
        help='where results go (default: build/bench-results)')
    add('--peers', metavar='FOLDER', type=pathlib.Path,
        help='a built folder of other stacks, with their programs in bin/')
    add('--syscalls', action='store_true', help='count system calls a request instead, with strace')
    add('--allocations', action='store_true', help='count heap allocations a request instead')
    add('--table', metavar='FILE', type=pathlib.Path, nargs='+',
        help='measure nothing: tables and plot of recorded runs')
    add('--programs', type=pathlib.Path, default=TOP / 'build' / 'bench' / 'apps' / 'bench', help=argparse.SUPPRESS)
    add('--check-only', action='store_true', help=argparse.SUPPRESS)
    o = parser.parse_args(arguments)

    if o.syscalls + o.allocations + (o.table is not None) > 1:
        wrong('--syscalls, --allocations and --table contradict each other; leave all but one out')
    o.rounds = number_of('--rounds', o.rounds, int, 1, 1000)
    o.seconds = number_of('--seconds', o.seconds, float, 0.05, 600)
    o.patience = number_of('--patience', o.patience, float, 0, 600)
    o.workloads = [WORKLOADS[name] for name in words_of('--workloads', o.workloads, list(WORKLOADS))]
    o.pairs = words_of('--pairs', o.pairs, [*PAIRS, 'all'])
    o.pairs = [p for p in PAIRS if p in o.pairs or 'all' in o.pairs]
    if (o.syscalls or o.allocations) and o.pairs != ['own']:
        wrong('--syscalls and --allocations count with own pairs only; leave --pairs out')
    o.stacks = stacks_of(o)
    return o


def stacks_of(o):
    """The stacks to measure, in the order given; the limit first, since the others are compared with it."""
    if o.peers is not None and not (o.peers / 'bin').is_dir():
        wrong(f"--peers wants a folder with programs in bin/, and '{o.peers}' has no bin/")
    ours, others = in_repository(o.programs), in_folder(o.peers)
    known = {s.name: s for s in ours + others}
    if o.stacks is None:
        names = [*DEFAULT, *(s.name for s in others if not s.missing())]
    else:
        names = words_of('--stacks', o.stacks, [*(s.name for s in ours), *PEERS])
    for name in names:
        if name not in known:
            wrong(f"--stacks has '{name}', which is not in this repository; name a folder that has it with --peers")
        if name in PEERS and (missing := known[name].missing()):
            wrong(f"--stacks has '{name}', but there is no {missing[0]}; build it there, or leave it out")
    if o.pairs != ['own'] and BASE not in names:
        names.insert(0, BASE)
    if BASE in names and not (o.syscalls or o.allocations):
        names.sort(key=lambda name: name != BASE)
    return [known[name] for name in names]
