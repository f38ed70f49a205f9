"""What is asked of the machine: its processors and their load, and which source this is."""

import os
import pathlib
import platform
import re
import resource
import subprocess
import time

TICKS = os.sysconf('SC_CLK_TCK')
QUIET = 0.15  # processors that others may use, or a hypervisor may take, while a run counts as quiet


def cores():
    """The processors of the server and of the client: different ones, if there are."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def load():
    """Seconds of processor time that anybody has used, and that the hypervisor has taken, since boot."""
    first = pathlib.Path('/proc/stat').read_text(encoding='ascii').split('\n', 1)[0]
    user, nice, system, _, _, irq, softirq, steal, *_ = (int(n) / TICKS for n in first.split()[1:])
    return user + nice + system + irq + softirq, steal


def wait_until_quiet(seconds):
    """Waits for a moment in which others use next to nothing; at most so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began, used = time.monotonic(), load()[0]
        time.sleep(0.12)
        if load()[0] - used <= QUIET * (time.monotonic() - began):
            return


def allow_open_files():
    """Raises the limit of open files as far as it goes, for the children too, and says how far that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def description():
    """Processor and kernel, in a few words."""
    found = re.search(r'^model name\s*: (.+)$', pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8'), re.M)
    name = found[1] if found else platform.machine()
    return f'{len(os.sched_getaffinity(0))} processors, {name}, Linux {platform.release()}'


def commit(top):
    """The commit that is checked out, and whether something was changed since; empty if this is no clone."""
    def git(*words):
        try:
            done = subprocess.run(['git', '-C', top, *words], capture_output=True, text=True, check=False)
        except OSError:
            return ''
        return done.stdout.strip() if done.returncode == 0 else ''

    number = git('rev-parse', '--short=10', 'HEAD')
    changed = number and git('status', '--porcelain', '--untracked-files=no')
    return number + (' with changes' if changed else '')
