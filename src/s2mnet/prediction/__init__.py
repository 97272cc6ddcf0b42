"""Prediction: a trained model on one image (`Predictor`) or on a folder of images (`predict_folder`).

One image from a folder to its mask passes through four modules beside the network:

1. `prediction/folder.py`: `predict_folder` loops over the files, with a reader and a writer in threads.
2. `data/images.py`: `read_image` decodes the file; at the end `write_mask` writes the mask.
3. `inference.py`: `prepare` (channels, size), `run` (normalisation, windows, test-time transforms), `finish` (back to
   the size of the image, then labels).
4. `engines.py`: the network as `run` calls it, by PyTorch or OpenVINO.

They call helpers that call nothing further up: `data/cases.py` lists files, `data/decoding.py` decodes,
`data/channels.py` and `data/resize.py` prepare, `data/labels.py` maps class indices to mask values, `files.py` writes.
`prediction/predictor.py` loads the model; `Predictor.predict` runs the three stages on a single image.
"""

from s2mnet.inference import Prediction
from s2mnet.prediction.folder import predict_folder
from s2mnet.prediction.predictor import Predictor

__all__ = ["Prediction", "Predictor", "predict_folder"]
