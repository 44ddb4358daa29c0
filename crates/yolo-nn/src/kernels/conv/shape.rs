//! Sizes of a convolution and views of its tensors.

/// Sizes of a convolution; pairs are `[vertical, horizontal]`.
#[derive(Clone, Debug)]
pub(crate) struct ConvShape {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    pub(crate) in_size: [usize; 2],
    pub(crate) out_channels: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

impl ConvShape {
    /// `⌊(in + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1`.
    ///
    /// # Panics
    /// If the kernel is larger than the padded input, or the groups do not divide the channels.
    pub(crate) fn out_size(&self) -> [usize; 2] {
        assert!(
            self.in_channels.is_multiple_of(self.groups) && self.out_channels.is_multiple_of(self.groups)
        );
        std::array::from_fn(|i| {
            let reach = self.dilation[i] * (self.kernel[i] - 1) + 1;
            let padded = self.in_size[i] + 2 * self.padding[i];
            assert!(reach <= padded, "a kernel reaching over {reach} pixels on {padded}");
            (padded - reach) / self.stride[i] + 1
        })
    }

    /// Pixels of an output plane.
    pub(crate) fn out_pixels(&self) -> usize {
        let [height, width] = self.out_size();
        height * width
    }

    /// Pixels of an input plane.
    pub(crate) fn in_pixels(&self) -> usize {
        self.in_size[0] * self.in_size[1]
    }

    /// Input channels of one group.
    pub(crate) fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of one group.
    pub(crate) fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Weights per output channel.
    pub(crate) fn depth(&self) -> usize {
        self.group_in() * self.kernel[0] * self.kernel[1]
    }

    /// Whether every output pixel reads only the input pixel at the same place.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }
}

/// A view of `[N, C, H, W]` whose images may lie further apart than their own size, as in a slice of channels.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a> {
    numbers: &'a [f32],
    image_stride: usize,
    channels: usize,
    size: [usize; 2],
}

impl<'a> Planes<'a> {
    /// `numbers` starts at the first image.
    ///
    /// # Panics
    /// If it ends before the last one.
    pub(crate) fn new(
        numbers: &'a [f32],
        image_stride: usize,
        [batch, channels, height, width]: [usize; 4],
    ) -> Self {
        let image = channels * height * width;
        assert!(batch == 0 || (batch - 1) * image_stride + image <= numbers.len());
        Self { numbers, image_stride, channels, size: [height, width] }
    }

    /// The planes of channels `first .. first + count` of an image, one after the other.
    pub(crate) fn channels(&self, image: usize, first: usize, count: usize) -> &'a [f32] {
        assert!(first + count <= self.channels);
        let plane = self.size[0] * self.size[1];
        let start = image * self.image_stride + first * plane;
        &self.numbers[start..start + count * plane]
    }

    /// Height and width.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.size
    }
}
