"""Images that lie in a data set and that its annotations do not name."""

from __future__ import annotations

from danlu.data.dataset import Dataset, ImageFiles
from danlu.data.files.survey import File, Survey
from danlu.data.image_index import is_derived
from danlu.data.sources.masks.mask_files import is_mask_beside, is_mask_folder
from danlu.data.split_names import split_of_path
from danlu.message import Message, message


def left_out_images(survey: Survey, dataset: Dataset, mask_files: bool = False) -> list[Message]:
    """A note on the images that are not read because no annotation names them; none where each is accounted for.

    For formats that do not list every image (`FormatSpec.lists_every_image`). Masks, drawings, small copies and images
    that are named as problems or belong to an unlabelled split do not count. mask_files: there are files of masks.
    """
    if survey.is_file or not isinstance(dataset.inputs, ImageFiles):
        return []
    read = set(dataset.inputs.paths)
    told = "\n".join(problem.where + problem.reason for problem in dataset.problems)
    left = [file for file in survey.images if file.path not in read and not _accounted(file, dataset, told)]
    if mask_files:  # images lie with others of their kind, and masks may lie beside them
        kinds = {(path.parent, path.suffix) for path in read}
        left = [file for file in left if (file.path.parent, file.path.suffix) in kinds and not is_mask_beside(file)]
    if not left:
        return []
    text = "{count} {count:image|images} that no annotation names {count:is|are} not read (first: {first})"
    return [message("data.images_left_out", text, count=len(left), first=left[0].relative)]


def _accounted(file: File, dataset: Dataset, told: str) -> bool:
    if is_mask_folder(file.folder) or any(map(is_derived, file.folder)):
        return True
    return split_of_path(file.folder) in dataset.unlabelled or file.name in told or file.stem in told
