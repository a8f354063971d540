# What kind of Python is this? Asked of old ones too, so: nothing that 3.4 did not have.
import importlib.util
import json
import platform
import sys
import sysconfig

NEEDED = ("venv", "_ssl", "_ctypes", "zipfile", "asyncio")
PIP = ("pip", "ensurepip")

libc, libc_version = platform.libc_ver()
print(
    json.dumps(
        {
            "path": sys.executable,
            "version": list(sys.version_info[:3]),
            "implementation": platform.python_implementation(),
            "platform": sysconfig.get_platform(),
            "glibc": libc_version if libc == "glibc" else "",
            "missing": [name for name in NEEDED if importlib.util.find_spec(name) is None],
            "pip": any(importlib.util.find_spec(name) is not None for name in PIP),
        }
    )
)
