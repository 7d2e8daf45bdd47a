"""One network written twice, in PyTorch and in Keras, with the same weights: blocks of the common mobile networks."""

import torch
from torch import nn
from torch.nn import functional as F


def _block(inputs, outputs, kernel=3, stride=1, groups=1):
    """Convolution without bias, padded as PyTorch does, and batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class TorchTwin(nn.Module):
    """MobileNetV2's residual, V3's squeeze-excite, a U-Net's ways up, a classifier."""

    def __init__(self):
        super().__init__()
        self.stem = _block(3, 8, stride=2)
        self.expand, self.depthwise, self.project = _block(8, 16, 1), _block(16, 16, groups=16), _block(16, 8, 1)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.up, self.merge = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(16, 4, 3, padding=1)
        self.mask = nn.Conv2d(4, 1, 1)
        self.dense = nn.Linear(8, 5)

    def forward(self, image):
        x = F.relu6(self.stem(image))
        skip = x + self.project(F.relu6(self.depthwise(F.relu6(self.expand(x)))))
        pooled = F.adaptive_avg_pool2d(skip, 1)
        x = F.hardswish(skip) * F.hardsigmoid(self.excite(F.relu(self.squeeze(pooled))))
        up = torch.cat([self.up(F.max_pool2d(x, 2)), skip], 1)
        up = F.interpolate(F.leaky_relu(self.merge(up), 0.1), scale_factor=2, mode="nearest")
        up = F.interpolate(up, scale_factor=2, mode="bilinear", align_corners=False)
        return {"classes": F.softmax(self.dense(x.mean((2, 3))), -1), "mask": torch.sigmoid(self.mask(up))}


def torch_twin(seed=0):
    """The module in evaluation mode, with random weights and batch-norm statistics."""
    torch.manual_seed(seed)
    module = TorchTwin()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def keras_twin(keras, module):
    """The Keras model that computes what ``module`` does, NHWC."""
    layers = keras.layers

    def weights(layer, x, *values):
        y = layer(x)
        layer.set_weights([v.detach().numpy() for v in values])
        return y

    def conv(x, part, stride=1):
        if part.padding[0]:
            x = layers.ZeroPadding2D(part.padding[0])(x)
        kind, order = (layers.DepthwiseConv2D, (2, 3, 0, 1)) if part.groups > 1 else (layers.Conv2D, (2, 3, 1, 0))
        size = () if part.groups > 1 else (part.out_channels,)
        layer = kind(*size, part.kernel_size, strides=stride, use_bias=part.bias is not None)
        values = [part.weight.permute(*order)] + ([part.bias] if part.bias is not None else [])
        return weights(layer, x, *values)

    def block(x, part, stride=1):
        norm = part[1]
        layer = layers.BatchNormalization(epsilon=norm.eps)
        return weights(layer, conv(x, part[0], stride), norm.weight, norm.bias, norm.running_mean, norm.running_var)

    image = keras.Input((16, 16, 3), name="image")
    x = layers.ReLU(6.0)(block(image, module.stem, 2))
    y = layers.ReLU(6.0)(block(layers.ReLU(6.0)(block(x, module.expand)), module.depthwise))
    skip = layers.Add()([x, block(y, module.project)])
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(skip)
    gate = conv(layers.ReLU()(conv(pooled, module.squeeze)), module.excite)
    x = layers.Multiply()([layers.Activation("hard_swish")(skip), layers.Activation("hard_sigmoid")(gate)])
    up = weights(
        layers.Conv2DTranspose(8, 2, strides=2),
        layers.MaxPooling2D()(x),
        module.up.weight.permute(2, 3, 1, 0),
        module.up.bias,
    )
    up = layers.LeakyReLU(negative_slope=0.1)(conv(layers.Concatenate()([up, skip]), module.merge))
    up = layers.UpSampling2D(2, interpolation="bilinear")(layers.UpSampling2D(2, interpolation="nearest")(up))
    mask = layers.Activation("sigmoid")(conv(up, module.mask))
    dense = layers.Dense(5, activation="softmax")
    classes = weights(dense, layers.Flatten()(layers.GlobalAveragePooling2D()(x)), module.dense.weight.T, module.dense.bias)
    return keras.Model(image, {"classes": classes, "mask": mask})
