"""Every C++ block of README and docs that begins with `// from NAME, REGION` shows that region of docs/examples/NAME,
but for its indentation: snippets.py ROOT."""
import pathlib
import re
import sys
import textwrap

root = pathlib.Path(sys.argv[1])
pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
shown = 0
wrong = []
for page in pages:
    for name, region, code in re.findall(r"```cpp\n// from (\S+), (\S+)\n(.*?)```", page.read_text(), re.S):
        shown += 1
        source = (root / "docs" / "examples" / name).read_text()
        parts = re.split(rf"^ *// \[{re.escape(region)}\]\n", source, flags=re.M)
        if len(parts) != 3:
            wrong.append(f"{page.relative_to(root)}: {name} has no region [{region}]")
        elif textwrap.dedent(parts[1]).strip() != code.strip():
            wrong.append(f"{page.relative_to(root)}: the block from {name}, {region} is not what the file says")
if not shown:
    wrong.append("no page shows any snippet")
print("\n".join(wrong) or f"{shown} snippets are as in the examples")
sys.exit(bool(wrong))
