"""The face verifier: a small network that estimates whether a crop shows a face.

Modules:
    train: `train_verifier`, the entry point: train, calibrate, measure, export.
    config: The recipe, a TOML file.
    mining: Crops without faces, from what OpenCV's cascades propose on pictures.
    distortions: Random changes to crops, as detectors and cameras make them.
    samples: Batches of faces and other crops.
    network: The network.
    fit: Updates of the weights.
    measure: Calibration, threshold and figures on data that the network was not trained on.
    export: ONNX file, manifest, golden vectors and card.
"""
