"""What can be read, written and made, for those who choose."""

from inhouse.data.augmenter import augmenters
from inhouse.data.examples import Form
from inhouse.data.file import file_kinds
from inhouse.data.format import formats, texts
from inhouse.data.schemas import AugmenterOut, FormatOut


def formats_out() -> list[FormatOut]:
    """Files with a column for each field first, then the formats of tools."""
    plain = [_plain(name) for name in file_kinds]
    return [*plain, *(_of_a_tool(name) for name in formats)]


def augmenters_out() -> list[AugmenterOut]:
    return [
        AugmenterOut(
            name=name,
            forms=[form.value for form in augmenters[name].forms],
            most=augmenters[name].most,
            settings=augmenters[name].model_json_schema(),
            texts=texts("inhouse.data.augmenters", name),
        )
        for name in augmenters
    ]


def _plain(name: str) -> FormatOut:
    kind = file_kinds[name]
    forms = [Form.SPANS] if name == "conll" else list(Form)
    return FormatOut(
        name=name,
        titles=_titles("inhouse.data.files", name),
        forms=[form.value for form in forms],
        suffix=kind.suffixes[0],
        missing=kind.missing(),
    )


def _of_a_tool(name: str) -> FormatOut:
    kind = file_kinds[formats[name].file]
    return FormatOut(
        name=name,
        titles=_titles("inhouse.data.formats", name),
        forms=[form.value for form in formats[name].forms],
        suffix=kind.suffixes[0],
        missing=kind.missing(),
    )


def _titles(package: str, name: str) -> dict[str, str]:
    return {language: said["title"] for language, said in texts(package, name).items()}
