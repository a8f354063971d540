"""Unpack the parcel into the environment whose Python runs this, and make its programs."""

import compileall
import hashlib
import os
import sys
import sysconfig
import zipfile

PROGRAMS = {
    "trioet": "trioet.cli.main:main",
    "etterminal": "trioet.cli.terminal:etterminal",
}
MAX_INTERPRETER = 120
"""What fits the first line of a script: 127 bytes in older kernels."""

INDIRECT = """\
#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
"""
"""As pip does it where the path is too long or has blanks: sh and Python read it differently."""

parcel, digest = sys.argv[1:]
with open(parcel, "rb") as file:
    if hashlib.file_digest(file, "sha256").hexdigest() != digest:
        sys.exit("the parcel is not what was sent")
site = sysconfig.get_path("purelib")
with zipfile.ZipFile(parcel) as archive:
    archive.extractall(site)
compileall.compile_dir(site, quiet=2)

python = os.path.join(sys.prefix, "bin", "python")
plain = len(python) <= MAX_INTERPRETER and " " not in python
first = f"#!{python}\n" if plain else INDIRECT.format(python=python)
for name, target in PROGRAMS.items():
    module, function = target.split(":")
    path = os.path.join(sys.prefix, "bin", name)
    with open(path, "w") as file:
        file.write(
            f"{first}import sys\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        )
    os.chmod(path, 0o755)
