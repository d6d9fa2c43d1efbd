//! The choices that options offer, by their names.

use crate::names::named;

named! {
    /// How the scalars that are trained are chosen. θ is the weight, g the mean of what was observed.
    ///
    /// ```
    /// use speft::Selection;
    ///
    /// let selection: Selection = "taylor-fo".parse()?;
    /// assert_eq!((selection, selection.name()), (Selection::TaylorFo, "taylor-fo"));
    /// # speft::Result::Ok(())
    /// ```
    pub enum Selection = "selection" {
        /// Every scalar with the same probability, from the seed and the parameter's name: SpaRTA.
        Random = SPEFT_SELECT_RANDOM "random",
        /// |θ|
        Magnitude = SPEFT_SELECT_MAGNITUDE "magnitude",
        /// |g|
        Gradient = SPEFT_SELECT_GRADIENT "gradient",
        /// |g·θ|
        Snip = SPEFT_SELECT_SNIP "snip",
        /// The masks are given, with [`Adapter::set_mask`](crate::Adapter::set_mask).
        Mask = SPEFT_SELECT_GIVEN_MASK "mask",
        /// The scores are given, with [`Adapter::set_scores`](crate::Adapter::set_scores); the largest are selected.
        Scores = SPEFT_SELECT_GIVEN_SCORES "scores",
        /// −g·θ
        Force = SPEFT_SELECT_FORCE "force",
        /// (g·θ)²
        TaylorFo = SPEFT_SELECT_TAYLOR_FO "taylor-fo",
        /// The mean of g², of each example from activations with
        /// [`Gradient::example_offsets`](crate::Gradient::example_offsets).
        Fisher = SPEFT_SELECT_FISHER "fisher",
        /// (∂R/∂|θ|)·|θ|, where the host observes ∂R/∂|θ| of the network of absolute weights without non-linearities.
        Synflow = SPEFT_SELECT_SYNFLOW "synflow",
        /// −(H·ḡ)·θ, where the host observes Hessian-vector products.
        Grasp = SPEFT_SELECT_GRASP "grasp",
        /// (H·ḡ)·θ, the sign of the public code.
        GraspCode = SPEFT_SELECT_GRASP_CODE "grasp-code",
        /// |θ − θ0|, θ0 given with [`Adapter::set_reference`](crate::Adapter::set_reference); selecting rewinds: LT-SFT.
        WeightChange = SPEFT_SELECT_WEIGHT_CHANGE "weight-change",
        /// The entries of the best low-rank approximation: LIFT.
        LowRank = SPEFT_SELECT_LOW_RANK "low-rank",
        /// |θ|·‖x‖, x the input feature that the weight multiplies.
        Wanda = SPEFT_SELECT_WANDA "wanda",
        /// Masks that move by accumulated gradients: SpIEL-AG.
        SpielAg = SPEFT_SELECT_SPIEL_AG "spiel-ag",
        /// Masks that move by the second moments of SM3: SpIEL-MA.
        SpielMa = SPEFT_SELECT_SPIEL_MA "spiel-ma",
        /// The largest |V·dW·Uᵀ| of each step's own gradient, in a [`Basis`](crate::Basis) that is given with
        /// [`Adapter::bind_basis`](crate::Adapter::bind_basis): SparseGrad. With AdamW and Adam, which are lazy then: a
        /// weight that a step does not select does not move, nor do its moments.
        Sparsegrad = SPEFT_SELECT_SPARSEGRAD "sparsegrad",
        /// The largest |g| of each step's own gradient: the same without a basis, after MeProp.
        Meprop = SPEFT_SELECT_MEPROP "meprop",
        /// −|θ|
        SmallestMagnitude = SPEFT_SELECT_SMALLEST_MAGNITUDE "smallest-magnitude",
        /// What [`AdapterBuilder::score_function`](crate::AdapterBuilder::score_function) computes.
        ScoreFunction = SPEFT_SELECT_SCORE_FUNCTION "score-function",
    }
}

named! {
    /// What is ranked together.
    pub enum Scope = "scope" {
        /// All sparse parameters.
        Global = SPEFT_SCOPE_GLOBAL "global",
        /// Each by itself.
        PerTensor = SPEFT_SCOPE_PER_TENSOR "per-tensor",
        /// Each row, that is each index of a parameter's first axis.
        PerRow = SPEFT_SCOPE_PER_ROW "per-row",
    }
}

named! {
    /// How random masks are drawn.
    pub enum Random = "random" {
        /// Exactly k of N, without replacement.
        Exact = SPEFT_RANDOM_EXACT "exact",
        /// Each scalar by itself with the density as its probability: k varies.
        Bernoulli = SPEFT_RANDOM_BERNOULLI "bernoulli",
    }
}

named! {
    /// Which mean of gradients is taken.
    pub enum Mean = "mean" {
        /// Of signed gradients, the absolute value after it.
        Signed = SPEFT_MEAN_SIGNED "signed",
        /// Of absolute values.
        Absolute = SPEFT_MEAN_OF_ABSOLUTES "absolute",
    }
}

named! {
    /// How many of the k selected scalars SpIEL replaces at step t, after the first time, when it is all of them. Of
    /// SparseGrad and MeProp, whether they choose at each step (`Default`) or once (`None`).
    pub enum Rate = "schedule" {
        /// `Linear` where the total of steps is known, else `Constant`.
        Default = SPEFT_SCHEDULE_DEFAULT "default",
        /// k·ξ·(T−t)/T
        Linear = SPEFT_SCHEDULE_LINEAR "linear",
        /// k·ξ/2·(1 + cos(π·t/T))
        Cosine = SPEFT_SCHEDULE_COSINE "cosine",
        /// k·ξ
        Constant = SPEFT_SCHEDULE_CONSTANT "constant",
        /// None: the masks of the first reselection stay. SparseGrad and MeProp choose once, by what was observed.
        None = SPEFT_SCHEDULE_NONE "none",
    }
}

named! {
    /// Which scalars SpIEL drops.
    pub enum DropBy = "drop" {
        /// Those with the least |φ|.
        Magnitude = SPEFT_DROP_MAGNITUDE "magnitude",
        /// Those that have moved least since the last reselection.
        Change = SPEFT_DROP_CHANGE "change",
    }
}

named! {
    /// How the selected scalars move; [`Hyperparameters`](crate::Hyperparameters) go with it.
    pub enum Optimizer = "optimizer" {
        /// Loshchilov and Hutter 2019.
        AdamW = SPEFT_OPTIMIZER_ADAMW "adamw",
        /// With momentum, if wanted.
        Sgd = SPEFT_OPTIMIZER_SGD "sgd",
        /// Anil et al. 2019.
        Sm3 = SPEFT_OPTIMIZER_SM3 "sm3",
        /// Chen et al. 2023.
        Lion = SPEFT_OPTIMIZER_LION "lion",
        /// Shazeer and Stern 2018.
        Adafactor = SPEFT_OPTIMIZER_ADAFACTOR "adafactor",
        /// Kingma and Ba 2015.
        Adam = SPEFT_OPTIMIZER_ADAM "adam",
    }
}

named! {
    /// Whose updates AdamW and Adam count.
    pub enum Age = "age" {
        /// The parameter's.
        Common = SPEFT_AGE_COMMON "common",
        /// Each weight's, as masks that move need it, which set it by themselves.
        PerWeight = SPEFT_AGE_PER_WEIGHT "per-weight",
    }
}

named! {
    /// How moments and velocities are kept.
    pub enum State = "state" {
        /// 4 bytes.
        Float32 = SPEFT_STATE_FLOAT32 "float32",
        /// 2 bytes, rounded up or down at random.
        BFloat16 = SPEFT_STATE_BFLOAT16 "bfloat16",
        /// A byte and a sixteenth: codes in blocks of 64 with a scale each.
        Blocks8 = SPEFT_STATE_BLOCKS8 "blocks8",
    }
}

named! {
    /// What weight decay pulls to, and when.
    pub enum Decay = "decay" {
        /// The delta to 0, and so the weight to its pretrained value.
        Original = SPEFT_DECAY_TO_ORIGINAL "original",
        /// The weight itself to 0, as PyTorch's optimizers do.
        Zero = SPEFT_DECAY_TO_ZERO "zero",
        /// The delta to 0, after the update, as SpIEL does.
        After = SPEFT_DECAY_AFTER_UPDATE "after",
    }
}

named! {
    /// How deltas are kept.
    pub enum DeltaType = "delta_type" {
        /// 4 bytes.
        Float32 = SPEFT_DELTA_FLOAT32 "float32",
        /// 2 bytes, rounded up or down at random in each step. Dense parameters stay float32.
        BFloat16 = SPEFT_DELTA_BFLOAT16 "bfloat16",
    }
}

named! {
    /// How a parameter is trained.
    pub enum Role = "role" {
        /// A mask of its scalars.
        Sparse = SPEFT_ROLE_SPARSE "sparse",
        /// All of it, as a new head is; kept and stored as values, not as a difference.
        Dense = SPEFT_ROLE_DENSE "dense",
    }
}

named! {
    /// How the weight of a linear layer lies.
    pub enum Layout = "layout" {
        /// `[out, in]`, y = x·Wᵀ: candle's `Linear`.
        OutIn = SPEFT_LAYOUT_OUT_IN "out_in",
        /// `[in, out]`, y = x·W.
        InOut = SPEFT_LAYOUT_IN_OUT "in_out",
    }
}

named! {
    /// How precisely an adapter is written.
    pub enum Format = "format" {
        /// A reload is identical.
        Exact = SPEFT_FORMAT_EXACT "exact",
        /// bfloat16 deltas, 2 bytes a weight less.
        Compact = SPEFT_FORMAT_COMPACT "compact",
    }
}

named! {
    /// How loud a log line is.
    pub enum Level = "level" {
        /// What happens inside.
        Debug = SPEFT_LOG_DEBUG "debug",
        /// What a user may want to know.
        Info = SPEFT_LOG_INFO "info",
        /// What a user should know.
        Warning = SPEFT_LOG_WARNING "warning",
    }
}

named! {
    /// How base weights are quantized.
    pub enum Quantization = "quantization" {
        /// 4-bit codes of normal quantiles.
        Nf4 = SPEFT_WEIGHTS_NF4 "nf4",
        /// 4-bit floating-point codes.
        Fp4 = SPEFT_WEIGHTS_FP4 "fp4",
        /// int8 with a scale a row.
        Int8 = SPEFT_WEIGHTS_INT8 "int8",
    }
}
