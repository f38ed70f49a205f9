#!/usr/bin/env python3
"""apps/NAME/help.txt, which scripts/app prints without building, is what the app itself prints.

help_test.py APP…: compares. help_test.py --write APP…: writes the files anew, for whoever changed an option.
"""

import pathlib
import subprocess
import sys

APPS = pathlib.Path(__file__).resolve().parents[2] / 'apps'

write = sys.argv[1:2] == ['--write']
old = []
for app in map(pathlib.Path, sys.argv[2 if write else 1:]):
    said = subprocess.run([app, '--help'], capture_output=True, text=True, check=True, timeout=60).stdout
    file = APPS / app.name / 'help.txt'
    if write:
        file.write_text(said, encoding='utf-8')
    elif not file.exists() or file.read_text(encoding='utf-8') != said:
        old.append(app)
if old:
    print(f'help.txt is not what these say: {", ".join(app.name for app in old)}. Write it anew:\n'
          f'  python3 {pathlib.Path(__file__).resolve()} --write {" ".join(str(app.resolve()) for app in old)}')
sys.exit(bool(old))
