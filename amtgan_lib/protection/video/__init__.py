"""Video: every frame kept, sound kept, faces followed so that their makeup does not flicker; lost faces are blanked.

A clip is looked at twice. First its faces are found in every frame and followed through time; then a protector changes
them in key frames, and the frames between get a mixture of the changes before and after, laid onto the face by its
alignment. What both find is noted beside the new file until that is complete.
Needs PyAV: ``pip install 'amtgan-lib[video]'``.
"""

from amtgan_lib.protection.video.clips import CODECS, VideoError
from amtgan_lib.protection.video.notes import file_beside
from amtgan_lib.protection.video.protecting import CHANGED, EVERY, LOST, VideoReport, protect_video

__all__ = ["CHANGED", "CODECS", "EVERY", "LOST", "VideoError", "VideoReport", "file_beside", "protect_video"]
