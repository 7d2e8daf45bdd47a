"""What the site adds to docs/: the texts of the repository's root and of examples/ as pages, and links that lead to them."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[2]
#: Texts of the root by the page that each becomes. README is no README.md there: MkDocs would take that for the home page.
ROOT_PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    **{
        f"examples/{path.parent.name}/README.md": f"examples/{path.parent.name}.md"
        for path in _ROOT.glob("examples/*/README.md")
    },
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """These texts as pages."""
    for name, page in ROOT_PAGES.items():
        text, up = (_ROOT / name).read_text(encoding="utf-8"), "../" * name.count("/")
        files.append(File.generated(config, page, content=_relinked(text, up, f"{up}docs/", "../" * page.count("/"))))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # MkDocs passes all
    """Links out of docs/ lead to the pages that the texts of the root became."""
    top = "../" * page.file.src_uri.count("/")
    return _relinked(markdown, f"../{top}", None, top)


def _relinked(text: str, root: str, docs: str | None, top: str) -> str:
    """``text`` with links to root texts, written after ``root``, leading to their pages below ``top``, as those to docs."""
    for name, page in ROOT_PAGES.items():
        text = re.sub(rf"\]\({re.escape(root + name)}(?=[)#])", f"]({top}{page}", text)
    return text if docs is None else text.replace(f"]({docs}", f"]({top}")
