"""Adds the pages that stand beside this file to the site, under the names by which README and code know them."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent


def on_files(files: Files, config: Any) -> Files:
    """Add every page of docs/; MkDocs calls this."""
    for path in sorted(HERE.glob("*.md")):
        files.append(File.generated(config, path.name, abs_src_path=str(path)))
    return files
