"""What the site adds to docs/: the texts of the repository's root as pages, and links that lead to them."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: Texts of the root by the page that each becomes. README is no README.md there: MkDocs would take that for the home page.
ROOT_PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The texts of the root as pages."""
    root = Path(config.config_file_path).parent
    for name, page in ROOT_PAGES.items():
        text = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_relinked(text, r"", r"docs/")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # MkDocs passes all
    """Links out of docs/ lead to the pages that the texts of the root became."""
    up = "../" * (page.file.src_uri.count("/") + 1)
    return _relinked(markdown, re.escape(up), None, "../" * page.file.src_uri.count("/"))


def _relinked(text: str, root: str, docs: str | None, top: str = "") -> str:
    """``text`` with its links to root texts, written after ``root``, leading to their pages, and those to docs without it."""
    for name, page in ROOT_PAGES.items():
        text = re.sub(rf"\]\({root}{re.escape(name)}(?=[)#])", f"]({top}{page}", text)
    return text if docs is None else re.sub(rf"\]\({docs}", "](", text)
