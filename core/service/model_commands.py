"""``models list | download | verify | import`` of the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from core.errors import CancelledError
from core.service.flags import add_progress
from core.service.progress import write_progress


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command ``models`` with its own commands to a parser's."""
    models = commands.add_parser("models", help="the networks' weights: list, download, verify, import")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="which there are, and which are here", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="as a JSON list, with all that is known")
    listing.set_defaults(run=_list)

    for name, run, text in (
        ("download", _download, "fetch a model's published file, or go on where it broke off"),
        ("verify", _verify, "compare the file that is here with the catalogue"),
        ("import", _import, "put a published file that you have in its place"),
    ):
        action = actions.add_parser(name, help=text, allow_abbrev=False)
        action.add_argument("name", metavar="NAME", help="as models list has it")
        if name == "import":
            action.add_argument("file", metavar="FILE")
        action.add_argument(
            "--trust-sha256",
            metavar="HEX",
            help="the file's SHA-256 from a source that you trust, for a model whose own is not confirmed",
        )
        add_progress(action)
        action.set_defaults(run=run)


def _list(options: argparse.Namespace) -> None:
    from core.weights.catalogue import CATALOGUE, EMBEDDED, models_folder
    from core.weights.verified_file import in_words

    # first, so that nothing is listed where the folder can't be read
    here = {name: model.here for name, model in CATALOGUE.items()}
    if options.json:
        print(json.dumps([model.describe() for model in CATALOGUE.values()]))
        return
    for name, model in CATALOGUE.items():
        if name == EMBEDDED.name:
            where = "here (shipped, default)"
        elif here[name]:
            where = "here"
        else:
            where = "not here" if model.confirmed else "not here; its SHA-256 is not confirmed"
        print(
            f"{name:11} {model.title:17} {in_words(model.size):>8}  {model.licence:17} "
            f"{model.memory / 1e9:.1f} GB memory, {model.suits}; {where}"
        )
    print(f"Downloaded files lie in {models_folder()} (EXEMPLAR_MODELS names another folder).")


def _download(options: argparse.Namespace) -> None:
    from core.weights.catalogue import download_model
    from core.weights.https import CANCELLED

    try:
        path = download_model(options.name, options.trust_sha256, progress=_printer(options.progress))
    except KeyboardInterrupt as error:
        raise CancelledError(CANCELLED) from error
    _say(options, f"{options.name} is in {path}, verified")


def _verify(options: argparse.Namespace) -> None:
    from core.weights.catalogue import verify_model

    path = verify_model(options.name, options.trust_sha256, progress=_printer(options.progress))
    _say(options, f"{path} is the published file of {options.name}")


def _import(options: argparse.Namespace) -> None:
    from core.weights.catalogue import import_model

    printer = _printer(options.progress)
    path = import_model(options.name, options.file, options.trust_sha256, progress=printer)
    _say(options, f"{options.name} is in {path}, verified")


def _say(options: argparse.Namespace, sentence: str) -> None:
    if options.progress != "none":
        print(sentence)


def _printer(kind: str) -> Callable[[float, str], None]:
    """A progress callback that writes to standard error, once per hundredth and where it falters."""
    told = None

    def tell(fraction: float, message: str) -> None:
        nonlocal told
        if told == (told := (int(100 * fraction), message.endswith("again"))):
            return
        write_progress(kind, fraction, message)

    return tell
