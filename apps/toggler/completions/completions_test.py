#!/usr/bin/env python3
"""Each option of `toggler --help` is in both completions, and bash completes them: completions_test.py TOGGLER"""

import pathlib
import re
import shutil
import subprocess
import sys

here = pathlib.Path(__file__).parent
shown = subprocess.run([sys.argv[1], '--help'], capture_output=True, text=True, check=True).stdout
options = set(re.findall(r'^ +(?:-\w,)?(--[\w-]+)', shown, re.M))
assert len(options) > 15, f'the help shows no more than {sorted(options)}'

wrong = []
for file in sorted(here.glob('toggler.*sh')):
    known = set(re.findall(r'--[a-z][\w-]*', file.read_text(encoding='utf-8')))
    wrong += [f'{file.name} lacks {o}' for o in sorted(options - known)]
    wrong += [f'{file.name} knows {o}, which the program does not' for o in sorted(known - options)]


def completed(*words):
    line = ' '.join(f"'{w}'" for w in words)
    script = (f'source "{here}/toggler.bash"; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _toggler; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    return set(subprocess.run(['bash', '-c', script], capture_output=True, text=True, check=True).stdout.split())


if completed('toggler', '--') != options:
    wrong.append(f'bash completes "--" to {sorted(completed("toggler", "--"))}')
if completed('toggler', '--state', 'o') != {'on', 'off'}:
    wrong.append('bash does not complete --state o')
if completed('toggler', '--state', '=', 'of') != {'off'}:
    wrong.append('bash does not complete --state=of')
if 'nack_retryable' not in completed('toggler', '--simulate', 'na'):
    wrong.append('bash does not complete --simulate na')

if shutil.which('zsh'):
    parsed = subprocess.run(['zsh', '-n', here / 'toggler.zsh'], capture_output=True, text=True, check=False)
    if parsed.returncode != 0:
        wrong.append(f'zsh cannot read its completion: {parsed.stderr}')

print('\n'.join(wrong) or f'{len(options)} options, all of them completed')
sys.exit(1 if wrong else 0)
