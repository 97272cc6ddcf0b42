"""Prediction: a trained model on one image (`Predictor`) or on a folder of them (`predict_folder`)."""

from s2mnet.prediction.folder import predict_folder
from s2mnet.prediction.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "predict_folder"]
