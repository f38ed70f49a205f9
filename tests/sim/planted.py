#!/usr/bin/env python3
"""Each fault in planted/ is put into a copy of the library, and a sweep or a unit test has to find it.

    planted.py BUILD [NAME…]                everything, or these faults
    planted.py BUILD --rotating N           N of them; each has its turn, by the date
    planted.py BUILD --rotating N --date 2026-12-24    the turn of another day

BUILD is a folder of Meson's in which sim_sweep and the unit tests can be built, not optimized. A patch begins with a
sentence that says what is wrong with it and either `scenario: NAME`, the sweep that finds it within 1,000 seeds, or
`test: FOLDER/UNIT_test`, a unit test below tests/ that fails, crashes or hangs with it. Without a fault all of them
pass: a sweep with 1,000 seeds, or, where not all faults are planted, with as many as found them. Last it prints
`N passed, N failed`; before that a table.
"""

import argparse
import concurrent.futures
import datetime
import os
import pathlib
import re
import signal
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'planting'))
import faulty  # noqa: E402  its folder had to be named first

SEEDS = 1000


def finder(patch):
    """('scenario' or 'test', which)"""
    named = re.search(r'^(scenario|test): (\S+)$', patch.read_text(encoding='utf-8'), re.M)
    if named and named[1] == 'scenario' and named[2] in faulty.UNITS:
        return named[1], named[2]
    if named and named[1] == 'test' and (faulty.ROOT / 'tests' / (named[2] + '.cpp')).exists():
        return named[1], named[2]
    raise faulty.Trouble('the patch does not begin with `scenario: NAME` or `test: FOLDER/UNIT_test` of one that there '
                         f'is; scenarios: {", ".join(faulty.UNITS)}')


def find(build, patch):
    """(seed, or what kind of test found it; seconds; the sentence that found it)"""
    kind, which = finder(patch)
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        sources = [path for path in faulty.plant(patch, scratch) if path.endswith('.cpp')]
        if kind == 'test':
            source, target = faulty.program_of(which)
            program = build.with_fault(target, [source, *sources], scratch)
            done = build.unit_test(program, scratch)
            sentence = faulty.sentence_of(done)
            if sentence is None:
                raise faulty.Trouble(f'{which} passes with it')
            return 'unit', done.seconds, f'{which}, {sentence}'
        units = list(dict.fromkeys([*faulty.UNITS[which], *sources]))
        program = build.with_fault(faulty.SWEEP, units, scratch, faulty.others_than(which))
        done = build.sweep(program, which, SEEDS, scratch)
    found = faulty.found_by_sweep(done)
    if found is None:
        raise faulty.Trouble(f'{SEEDS} seeds did not find it: {done.output[-1000:]}')
    return found[0], done.seconds, found[1]


def passes(build, kind, which, seeds):
    """None, or what fails without a fault."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        if kind == 'test':
            return faulty.sentence_of(build.unit_test(build.folder / faulty.program_of(which)[1], scratch))
        done = build.sweep(build.folder / faulty.SWEEP, which, seeds, scratch)
        return None if done.returncode == 0 else done.output[-3000:]


def turn_of(patches, number, date):
    """The faults whose turn it is: the next `number` each day, round and round."""
    first = date.toordinal() * number
    return sorted({patches[(first + i) % len(patches)] for i in range(number)})


def arguments():
    parser = argparse.ArgumentParser(prog='planted.py', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', metavar='BUILD')
    parser.add_argument('names', metavar='NAME', nargs='*', help='these faults only')
    parser.add_argument('--rotating', type=int, metavar='N', help='the N faults whose turn it is today')
    parser.add_argument('--date', type=datetime.date.fromisoformat, default=datetime.date.today(), metavar='YYYY-MM-DD',
                        help='another day than today')
    parser.add_argument('--patches', type=pathlib.Path, default=HERE / 'planted', metavar='FOLDER',
                        help='another folder of patches')
    given = parser.parse_args()
    if given.rotating is not None and given.rotating < 1:
        parser.error('--rotating wants a number from 1')
    return given


def main():
    given = arguments()
    there = sorted(given.patches.glob('*.patch'))
    patches = [p for p in there if not given.names or p.stem in given.names]
    if not patches or set(given.names) - {p.stem for p in patches}:
        sys.exit(f'planted: there is no such fault; there are: {", ".join(p.stem for p in there)}')
    if given.rotating:
        patches = turn_of(patches, min(given.rotating, len(patches)), given.date)
        print(f'{given.date}: it is the turn of {", ".join(p.stem for p in patches)}')
    finders = set()
    for patch in patches:
        try:
            finders.add(finder(patch))
        except faulty.Trouble:  # told below
            pass
    try:
        build = faulty.Build(given.build)
        build.make(*sorted({faulty.SWEEP if kind == 'scenario' else faulty.program_of(which)[1]
                            for kind, which in finders}))
    except faulty.Trouble as trouble:
        sys.exit(f'planted: {trouble}')
    failed = 0
    seeds = dict.fromkeys(faulty.UNITS, SEEDS if patches == there else 1)  # which pass without a fault
    print(f'{"fault":34} {"seed":>5} {"seconds":>8}  found as')
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for patch, search in [(p, pool.submit(find, build, p)) for p in patches]:
                try:
                    seed, seconds, sentence = search.result()
                    kind, which = finder(patch)
                    if kind == 'scenario':
                        seeds[which] = max(seeds[which], seed + 1)
                    print(f'{patch.stem:34} {seed:>5} {seconds:8.2f}  {sentence}', flush=True)
                except Exception as trouble:  # whatever it is, the others are tried
                    failed += 1
                    print(f'{patch.stem:34} NOT FOUND: {trouble}', flush=True)
            # Without a fault nothing is found, or what was found above proves nothing.
            for (_, which), check in [(f, pool.submit(passes, build, *f, seeds.get(f[1]))) for f in sorted(finders)]:
                fails = check.result()
                if fails is not None:
                    failed += 1
                    print(f'without a fault, {which} fails all the same:\n{fails}')
        except KeyboardInterrupt:
            faulty.stop()
            pool.shutdown(cancel_futures=True)
            sys.exit('planted: stopped')
    print(f'{len(patches) + len(finders) - failed} passed, {failed} failed')
    sys.exit(failed != 0)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
