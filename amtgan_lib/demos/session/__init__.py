"""One photo, opened once, and sliders: how strongly each part of its look is worn, and the mix of two makeups.

Everything slow (faces, the search for a look) is done once for a photo and a reference; a slider only paints anew.
Recognisers always judge the 8-bit picture that is shown. No widget is needed.
"""

from amtgan_lib.demos.session.face import Face, Settings
from amtgan_lib.demos.session.gallery import PEOPLE, Sample, makeups, people
from amtgan_lib.demos.session.kits import HELD_OUT, Kit, StudioError, drawn_kit, photo_kit
from amtgan_lib.demos.session.sitting import AS_IT_IS, Studio
from amtgan_lib.demos.session.study import drawn_pairs, pairs_in
