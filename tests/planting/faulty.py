"""The library with a fault in it: a copy of lib/ is changed, and what instantiates its templates is compiled with it.

Only those units are compiled anew, with `-I COPY/lib` in front, and stand first on the link line: in a build that is
not optimized, the first definition of an inline function wins, also over that of a shared library. What belongs to one
fault lies in a folder of its own, and every process that is started is ended by its own number.
"""

import functools
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWEEP = 'tests/sim/sim_sweep'
# What instantiates the templates of the library, by scenario.
UNITS = {
    'toggler': ('tests/sim/sweep/toggler.cpp', 'lib/toggle/device.cpp'),
    'hub': ('tests/sim/sweep/hub.cpp',),
    'pipelines': ('tests/sim/sweep/pipelines.cpp',),
}
PATIENCE = 600  # seconds for one build
HANGS = 60  # seconds after which a test is taken to hang
MEMORY_MAX = 6 << 30  # of a test: a fault may ask for all there is
OUTPUT_MAX = 64 << 20


class Trouble(Exception):
    """The fault could not be planted, or was not found."""


class DoesNotCompile(Trouble):
    """The compiler refuses the fault; `static_assertion` is that of a test which did, or None."""

    def __init__(self, said):
        errors = [line for line in said.splitlines() if re.search(r'\berror: ', line)]
        super().__init__(errors[0].strip() if errors else said[-500:])
        asserted = [line for line in errors if re.search(r'\btests/\S+ error: static assertion failed', line)]
        self.static_assertion = asserted[0].strip() if asserted else None


class Stopped(Exception):
    """Somebody wants to end; see `stop`."""


class _Processes:
    """All that are under way."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running = set()
        self._stopped = False

    def start(self, command, **how):
        with self._lock:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **how)
            self._running.add(process)
            return process

    def end(self, process):
        """It and what it started, if it still runs."""
        with self._lock:
            self._kill(process)
            self._running.discard(process)
        process.wait()

    def stop(self):
        with self._lock:
            self._stopped = True
            for process in self._running:
                self._kill(process)

    @property
    def stopped(self):
        return self._stopped

    @staticmethod
    def _kill(process):
        if process.returncode is None:  # not waited for, so that the number is still its own
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


_processes = _Processes()
stop = _processes.stop


class Done:
    """How a process ended; `returncode` is None if it hung."""

    def __init__(self, returncode, output, seconds):
        self.returncode = returncode
        self.output = output
        self.seconds = seconds


def run(command, cwd, patience=PATIENCE):
    """A tool; whatever it says is kept."""
    began = time.monotonic()
    process = _processes.start(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors='replace')
    try:
        output, returncode = process.communicate(timeout=patience)[0], process.returncode
    except subprocess.TimeoutExpired:
        output, returncode = f'not done after {patience} s', None
    finally:
        _processes.end(process)
    if _processes.stopped:
        raise Stopped
    return Done(returncode, output, time.monotonic() - began)


def run_bounded(command, scratch, environment, patience=HANGS, enough=None):
    """A program with a fault in it, which may do anything: with bounds on its time, memory and output. It is ended,
    too, when its output matches `enough`; then `returncode` is 1.
    """
    sanitized = b'__asan_init' in pathlib.Path(command[0]).read_bytes()  # whose shadow is larger than any memory
    bounds = f'ulimit -c 0; ulimit -f {OUTPUT_MAX // 512}; '
    if not sanitized:
        bounds += f'ulimit -v {MEMORY_MAX // 1024}; '
    log = scratch / 'output'
    began = time.monotonic()
    with log.open('wb') as to:
        process = _processes.start(['/bin/sh', '-c', bounds + 'exec "$@"', 'sh', *map(str, command)], cwd=scratch,
                                   stdout=to, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    returncode, looked_at = None, -1
    try:
        while time.monotonic() - began < patience:
            try:
                returncode = process.wait(0.25)
                break
            except subprocess.TimeoutExpired:
                if enough and log.stat().st_size != looked_at:
                    looked_at = log.stat().st_size
                    if re.search(enough, log.read_text(errors='replace')):
                        returncode = 1
                        break
    finally:
        _processes.end(process)
    if _processes.stopped:
        raise Stopped
    return Done(returncode, log.read_text(encoding='utf-8', errors='replace'), time.monotonic() - began)


def plant(patch, scratch):
    """Copies lib/ and applies a patch to it; what it changed."""
    shutil.copytree(ROOT / 'lib', scratch / 'lib')
    done = run(['patch', '--strip=1', '--fuzz=0', '--input', str(patch)], scratch)
    if done.returncode != 0:
        raise Trouble(f'the patch does not fit the code any more: {done.output.strip()}')
    return re.findall(r'^\+\+\+ b/(\S+)', patch.read_text(encoding='utf-8'), re.M)


def sentence_of(done):
    """What a unit test said as it failed, or None if it passed."""
    if done.returncode == 0:
        return None
    if done.returncode is None:
        return f'does not end within {round(done.seconds)} s'
    found = re.search(r'\): (?:fatal )?error: in "(?:[^"/]*/)*([^"]*)": *(.*)', done.output)
    if found:
        return f'{found[1]}: {found[2]}'
    if done.returncode < 0 or done.returncode > 128:
        return f'dies of signal {-done.returncode if done.returncode < 0 else done.returncode - 128}'
    last = [line for line in done.output.splitlines() if line.strip()]
    return last[-1].strip() if last else f'ends with {done.returncode}'


class Build:
    """A folder of Meson's."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.environment = {'LD_LIBRARY_PATH': str(self.folder / 'lib')}
        if not (self.folder / 'build.ninja').exists():
            raise Trouble(f'{folder} is no folder in which Meson builds')

    def make(self, *targets):
        done = run(['ninja', *targets], self.folder, patience=3600)
        if done.returncode != 0:
            raise Trouble(f'{", ".join(targets)}: {done.output[-3000:]}')

    @functools.lru_cache(maxsize=None)
    def commands(self, target):
        """How Ninja builds a program: source -> (arguments, object), and the link's arguments."""
        compiles, link = {}, None
        for line in run(['ninja', '-t', 'commands', target], self.folder).output.splitlines():
            words = shlex.split(line)
            if words and pathlib.Path(words[0]).name == 'ccache':  # it would keep what nobody compiles again
                del words[0]
            if '-c' in words:
                source = (self.folder / words[words.index('-c') + 1]).resolve()
                compiles[os.path.relpath(source, ROOT)] = (words, words[words.index('-o') + 1])
            elif '-o' in words and words[words.index('-o') + 1] == target:
                link = words
        if link is None:
            raise Trouble(f'{self.folder} has no target {target}')
        return compiles, link

    @functools.lru_cache(maxsize=None)
    def headers(self, target, unit):
        """Which files of lib/ a unit that is built includes."""
        product = self.commands(target)[0][unit][1]
        listed = run(['ninja', '-t', 'deps', product], self.folder).output
        files = (os.path.relpath((self.folder / line.strip()).resolve(), ROOT) for line in listed.splitlines()[1:])
        return frozenset(f for f in files if f.startswith('lib/'))

    def with_fault(self, target, units, scratch, left_out=()):
        """The program, with the fault in these units and without those others."""
        compiles, link = self.commands(target)
        link = list(link)
        for unit in left_out:
            if compiles[unit][1] in link:
                link.remove(compiles[unit][1])
        for unit in units:
            words, product = compiles[unit]
            words, faulty = list(words), str(scratch / (unit.replace('/', '_') + '.o'))
            if not pathlib.Path(faulty).exists():
                if unit.startswith('lib/'):
                    words[words.index('-c') + 1] = str(scratch / unit)
                words[words.index('-o') + 1] = faulty
                if '-MF' in words:
                    words[words.index('-MF') + 1] = faulty + '.d'
                first = next(i for i, word in enumerate(words) if word.startswith('-I'))
                words.insert(first, '-I' + str(scratch / 'lib'))
                words.append('-fdiagnostics-color=never')
                done = run(words, self.folder)
                if done.returncode != 0:
                    raise DoesNotCompile(done.output)
            if product in link:
                link.remove(product)
            link.insert(link.index(target) + 1, faulty)
        program = scratch / pathlib.Path(target).name
        link[link.index('-o') + 1] = str(program)
        done = run(link, self.folder)
        if done.returncode != 0:
            raise DoesNotCompile('error: the fault does not link: ' + done.output[-2000:])
        return program

    def unit_test(self, program, scratch, patience=HANGS):
        return run_bounded([program, '--color_output=no', '--log_level=error'], scratch, self.environment, patience,
                           enough=r'\): (?:fatal )?error: in "[^\n]*\n')

    def sweep(self, program, scenario, seeds, scratch, start=0, patience=PATIENCE):
        return run_bounded([program, '--scenario', scenario, '--from', start, '--seeds', seeds, '--threads', '1',
                            '--failures', '1'], scratch, self.environment, patience)


def found_by_sweep(done):
    """(seed, the sentence that broke), or None if nothing did."""
    found = re.search(r'^\w+, seed (\d+):\n  (?:after \d+ ms: )?(.*)', done.output, re.M)
    return found and (int(found[1]), found[2])


def others_than(scenario):
    """The units that belong to the other scenarios alone."""
    return [unit for units in UNITS.values() for unit in units if unit not in UNITS[scenario]]


def program_of(test):
    """FOLDER/UNIT_test -> its source and its target."""
    return f'tests/{test}.cpp', 'tests/' + test.replace('/', '_', 1)
