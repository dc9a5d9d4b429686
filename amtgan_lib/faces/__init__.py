"""A photo's faces: where they are, upright crops with landmarks and makeup regions, and the way back.

Detection and the 478-point landmark mesh are mediapipe's (models inside its wheel). A crop is the
similarity frame of five points (eyes, nose tip, mouth corners), so its face is upright and of a fixed
size; what a generator changes in the crop goes back into the photo as a difference.
"""

from amtgan_lib.faces.crops import (
    CROP_TEMPLATE,
    FEATHER,
    FaceCrop,
    FaceError,
    crop_face,
    frame,
    outline,
    published_frame,
)
from amtgan_lib.faces.detection import (
    ONE_FACE,
    detect,
    detect_all,
    detect_one,
    large_enough,
    meshes,
)
from amtgan_lib.faces.left import SMALLEST_EYE_DISTANCE, Box, DoubtfulFace, SmallFace, sorted_out
from amtgan_lib.faces.mtcnn import at_hand as cross_checked
from amtgan_lib.faces.regions import MESH_TO_68, PARSE_ORDERS, bounding_box, overlap, region_masks
from amtgan_lib.faces.shown import boxed
from amtgan_lib.faces.warps import similarity
