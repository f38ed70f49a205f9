"""What the checks share: the tree that is looked at, how a compiler is called on it, and how a finding is told.

A check takes `--root FOLDER` (default: this repository), so that its own test can plant a violation in a small tree.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

SKIPPED = 77  # what Meson calls a skipped test


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--root', type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument('files', nargs='*', help='look at these files only, where the check goes file by file')
    parsed = parser.parse_args()
    parsed.root = parsed.root.resolve()
    parsed.files = {pathlib.Path(f).resolve() for f in parsed.files}
    return parsed


def files(root, *folders, ends=('.hpp', '.cpp')):
    found = []
    for folder in folders:
        found += [p for p in (root / folder).rglob('*') if p.suffix in ends and p.is_file()]
    return sorted(found)


def tracked(root):
    """Everything that is in the repository or about to be; without git, everything but what was built."""
    def git(*words):
        return subprocess.run(['git', '-C', root, *words], capture_output=True, text=True, check=False).stdout

    if shutil.which('git') and git('rev-parse', '--show-toplevel').strip() == str(root):
        listed = git('ls-files', '-z', '--cached', '--others', '--exclude-standard')
        paths = [root / p for p in listed.split('\0') if p]
    else:
        paths = [p for p in root.rglob('*') if not p.relative_to(root).parts[0].startswith(('build', '.git'))]
    return sorted(p for p in paths if p.is_file() and not p.is_symlink())


def text(path):
    """The text of a file, or an empty one for a file that is not text."""
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        return ''


def need(*tools):
    missing = [t for t in tools if shutil.which(t) is None]
    if missing:
        print(f'skipped: {" and ".join(missing)} not found; run scripts/setup check')
        sys.exit(SKIPPED)


def parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def configured(root):
    """A build folder of clang's, up to date with the meson.build files. Nothing is compiled in it."""
    need('meson', 'ninja', 'clang++-19')
    build = root / 'build' / 'check'
    environment = dict(os.environ, CC='clang-19', CXX='clang++-19')
    if (build / 'build.ninja').exists():
        command = ['ninja', '-C', build, 'build.ninja']
    else:
        command = ['meson', 'setup', build, root, '--buildtype=debug']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout + done.stderr)
        sys.exit('FAIL: the build folder could not be configured')
    return build


def introspect(build, what):
    out = subprocess.run(['meson', 'introspect', what, build], capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def commands(root):
    """file -> compiler arguments, with absolute paths: what decides how the file is read, and no more."""
    build = configured(root)
    found = {}
    for entry in json.loads((build / 'compile_commands.json').read_text(encoding='utf-8')):
        file = pathlib.Path(build, entry['file']).resolve()
        kept = []
        for argument in shlex.split(entry['command']):
            if match := re.fullmatch(r'(-I|-isystem)(.+)', argument):
                kept.append(match[1] + str(pathlib.Path(build, match[2]).resolve()))
            elif re.match(r'-(D|U|std=|W|pthread|f(no-)?(rtti|exceptions))', argument):
                kept.append(argument)
        found[file] = kept
    return found


def write_database(root, found):
    """A compilation database for clang's tools, beside the build folder's own."""
    folder = root / 'build' / 'check' / 'clang'
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{'directory': str(folder), 'file': str(file),
                'arguments': ['clang++-19', *flags, '-c', str(file)]} for file, flags in found.items()]
    (folder / 'compile_commands.json').write_text(json.dumps(entries, indent=1), encoding='utf-8')
    return folder


def together(root, known, sources):
    """The same sources for a tool that reads one after the other: those of lib/ that are read alike eight at a time, each of
    which includes the same headers. What stands for them is added to `known`."""
    folder = root / 'build' / 'check' / 'clang'
    folder.mkdir(parents=True, exist_ok=True)
    alike, others = {}, []
    for source in sources:
        if source.is_relative_to(root / 'lib'):
            alike.setdefault(tuple(known[source]), []).append(source)
        else:
            others.append(source)
    batches = [group[i:i + 8] for group in alike.values() for i in range(0, len(group), 8)]
    for n, batch in enumerate(batches):
        file = folder / f'together_{n}.cpp'
        file.write_text(''.join(f'#include "{source}"\n' for source in batch), encoding='utf-8')
        known[file] = known[batch[0]]
        others.insert(0, file)
    return others


def finish(root, findings):
    """Prints the findings, `(file, line, sentence)`, each once, and leaves."""
    for file, line, sentence in sorted(set(findings), key=str):
        path = pathlib.Path(file)
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        print(f'{shown}:{line}: {sentence}' if line else f'{shown}: {sentence}')
    sys.exit(1 if findings else 0)
