"""`--log`: metrics and settings of a run for TensorBoard, MLflow, W&B and trackio."""
