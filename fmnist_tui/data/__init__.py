"""The data room: the Fashion-MNIST files, the two splits, batches on the device, augmentation."""
