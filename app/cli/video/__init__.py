"""Videos on the command line: from a video file to rows per face and frame, an annotated copy and a plot.

Modules:
    reading: Frames of a video file with their times, upright.
    sampling: Choice of the frames to classify.
    sample: One classified frame with its tracks.
    rows: Samples as JSON lines or CSV rows.
    resume: Samples of an earlier run.
    timeline: Compact record of the tracks of one video.
    drawing: Annotated copy.
    plot: Picture of the emotions over time.
    run: All videos of one command.
"""
