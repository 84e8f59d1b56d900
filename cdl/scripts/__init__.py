"""Scripts written for Keras and TensorFlow, run on cdl by `python -m cdl script.py`."""
