"""Each fault in planted/ is put into a copy of the library, and a sweep has to find it within 1,000 seeds.

planted.py BUILD [NAME…]: BUILD is a folder of Meson's in which sim_sweep can be built. A patch begins with a sentence
that says what is wrong with it and `scenario: NAME`. Last it prints `N passed, N failed`; before that a table.
"""

import concurrent.futures
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEEDS = 1000
PATIENCE = 600  # seconds for one build or one sweep
# What instantiates the templates of the library, by scenario: it is compiled anew.
ALL = list((HERE / 'planted').glob('*.patch'))
UNITS = {
    'toggler': ('tests/sim/sweep/toggler.cpp', 'lib/toggle/device.cpp'),
    'hub': ('tests/sim/sweep/hub.cpp',),
    'pipelines': ('tests/sim/sweep/pipelines.cpp',),
}


class Trouble(Exception):
    """The fault could not be planted, or was not found."""


def run(command, cwd):
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors='replace', timeout=PATIENCE, check=False)


def commands(build):
    """How Ninja builds sim_sweep: source -> (arguments, object), and the link's arguments."""
    compiles, link = {}, None
    for line in run(['ninja', '-t', 'commands', 'tests/sim/sim_sweep'], build).stdout.splitlines():
        words = shlex.split(line)
        if '-c' in words:
            source = (build / words[words.index('-c') + 1]).resolve()
            compiles[str(source.relative_to(ROOT))] = (words, words[words.index('-o') + 1])
        elif '-o' in words and words[words.index('-o') + 1] == 'tests/sim/sim_sweep':
            link = words
    return compiles, link


def plant(patch, to):
    shutil.copytree(ROOT / 'lib', to / 'lib')
    done = run(['patch', '--strip=1', '--fuzz=0', '--input', str(patch)], to)
    if done.returncode != 0:
        raise Trouble(f'the patch does not fit the code any more: {done.stdout.strip()}')


def compiled(build, compiles, link, scenario, scratch):
    """The sweep with the fault in it, and no other scenario."""
    link = list(link)
    for name, units in UNITS.items():
        for unit in units:
            words, product = compiles[unit]
            product_of_fault = str(scratch / (pathlib.Path(unit).name + '.o'))
            if name != scenario:
                if product in link:
                    link.remove(product)
                continue
            words = list(words)
            source = words.index('-c') + 1
            words[source] = str(scratch / unit) if unit.startswith('lib/') else words[source]
            words[words.index('-o') + 1] = product_of_fault
            if '-MF' in words:
                words[words.index('-MF') + 1] = product_of_fault + '.d'
            words.insert(words.index('-c'), '-I' + str(scratch / 'lib'))
            first = next(i for i, word in enumerate(words) if word.startswith('-I'))
            words.insert(first, '-I' + str(scratch / 'lib'))
            done = run(words, build)
            if done.returncode != 0:
                raise Trouble(f'the fault does not compile: {done.stdout[-2000:]}')
            if product in link:
                link[link.index(product)] = product_of_fault
            else:
                link.insert(link.index('tests/sim/sim_sweep') + 1, product_of_fault)
    link[link.index('-o') + 1] = str(scratch / 'sweep')
    done = run(link, build)
    if done.returncode != 0:
        raise Trouble(f'the fault does not link: {done.stdout[-2000:]}')
    return scratch / 'sweep'


def sweep(build, program, scenario):
    return run(['env', f'LD_LIBRARY_PATH={build / "lib"}', str(program), '--scenario', scenario, '--seeds', str(SEEDS),
                '--threads', '1', '--failures', '1'], build)


def find(build, compiles, link, patch):
    """(seed, seconds, the sentence that found it)"""
    named = re.search(r'^scenario: (\w+)$', patch.read_text(encoding='utf-8'), re.M)
    if named is None or named[1] not in UNITS:
        raise Trouble(f'the patch does not begin with `scenario: NAME`; there are: {", ".join(UNITS)}')
    scenario = named[1]
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        plant(patch, scratch)
        program = compiled(build, compiles, link, scenario, scratch)
        began = time.monotonic()
        done = sweep(build, program, scenario)
        seconds = time.monotonic() - began
    found = re.search(r'^\w+, seed (\d+):\n  (?:after \d+ ms: )?(.*)', done.stdout, re.M)
    if found is None:
        raise Trouble(f'{SEEDS} seeds did not find it: {done.stdout[-1000:]}')
    return int(found[1]), seconds, found[2]


def main(build, names):
    build = pathlib.Path(build).resolve()
    built = run(['ninja', 'tests/sim/sim_sweep'], build)
    if built.returncode != 0:
        sys.exit(built.stdout[-3000:])
    compiles, link = commands(build)
    patches = [p for p in sorted(ALL) if not names or p.stem in names]
    if not patches or set(names) - {p.stem for p in patches}:
        sys.exit(f'planted: there is no such fault; there are: {", ".join(sorted(p.stem for p in ALL))}')
    failed = 0
    print(f'{"fault":34} {"seed":>5} {"seconds":>8}  found as')
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for patch, search in [(p, pool.submit(find, build, compiles, link, p)) for p in patches]:
            try:
                seed, seconds, sentence = search.result()
                print(f'{patch.stem:34} {seed:5} {seconds:8.2f}  {sentence}', flush=True)
            except Exception as trouble:  # whatever it is, the others are tried
                failed += 1
                print(f'{patch.stem:34} NOT FOUND: {trouble}', flush=True)
        # Without a fault nothing is found, or what was found above proves nothing.
        for scenario, done in [(s, pool.submit(sweep, build, build / 'tests/sim/sim_sweep', s)) for s in UNITS]:
            if done.result().returncode != 0:
                failed += 1
                print(f'without a fault, the sweep of {scenario} fails all the same:\n{done.result().stdout[-3000:]}')
    count = len(patches) + len(UNITS)
    print(f'{count - failed} passed, {failed} failed')
    sys.exit(failed != 0)


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
