"""An integer network as portable C99, with the arithmetic of TensorFlow Lite Micro."""
