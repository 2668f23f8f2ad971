#!/usr/bin/env python3
"""Take the NiiVue viewer from the npm registry into the package, with all licences.

Run it to move to another version; what it writes is committed, so that installing volseg needs no
npm:

    tools/vendor_niivue.py 0.69.0

The single-file build is stored as it is published, compressed. The page holds it in that form.
"""

import argparse
import gzip
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGE = "@niivue/niivue"
BUILD = "dist/niivue.umd.js"
METAFILE = "dist/metafile-esm.json"
ASSETS = Path(__file__).resolve().parents[1] / "volseg" / "inference" / "gallery" / "assets"


def main() -> None:
    """Install the package in an empty folder, and copy what the report needs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="version of @niivue/niivue")
    version = parser.parse_args().version
    with tempfile.TemporaryDirectory() as folder:
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run([*install, f"{PACKAGE}@{version}"], cwd=folder, check=True)
        modules = Path(folder, "node_modules")
        package = modules / PACKAGE
        script = (package / BUILD).read_bytes()
        if b"</script" in script.lower():
            raise SystemExit(f"{BUILD} holds </script, which would end the element it stands in")
        (ASSETS / "niivue.umd.js.gz").write_bytes(gzip.compress(script, 9, mtime=0))
        facts = {
            "package": PACKAGE,
            "version": version,
            "file": BUILD,
            "bytes": len(script),
            "sha256": hashlib.sha256(script).hexdigest(),
            "licence": json.loads((package / "package.json").read_text())["license"],
        }
        (ASSETS / "niivue.json").write_text(json.dumps(facts, indent=4) + "\n")
        (ASSETS / "licences.txt").write_text(collect_licences(modules, package))


def collect_licences(modules: Path, package: Path) -> str:
    """Gather the licence of NiiVue and of every package that its build contains.

    Args:
        modules: Folder of the installed packages.
        package: NiiVue's folder; its package has no licence file, so the text lies beside the
            assets.

    Returns:
        One text.
    """
    inputs = json.loads((package / METAFILE).read_text())["inputs"]
    parts = [
        path.split("node_modules/")[-1].split("/") for path in inputs if "node_modules" in path
    ]
    names = sorted({"/".join(part[: 1 + part[0].startswith("@")]) for part in parts})
    texts = [f"{PACKAGE}\n\n{(ASSETS / 'niivue.licence.txt').read_text().strip()}"]
    for name in names:
        facts = json.loads((modules / name / "package.json").read_text())
        files = sorted((modules / name).glob("[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*"))
        text = files[0].read_text().strip() if files else f"Licence: {facts['license']}"
        texts.append(f"{name} {facts['version']}\n\n{text}")
    return f"\n\n{'-' * 72}\n\n".join(texts) + "\n"


if __name__ == "__main__":
    if shutil.which("npm") is None:
        raise SystemExit("npm is not on the path; install Node.js")
    main()
