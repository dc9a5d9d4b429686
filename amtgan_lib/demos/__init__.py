"""What a notebook or a page of voila shows to click on: a photo with its sliders, and the scores that a run stored."""
