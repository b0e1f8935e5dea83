//! Tensors in forms that are not read, each with a sentence that says what it is and what to do.

use crate::error::quoted;

/// Functions of a pickle that make a tensor which is not a view of a storage, and what such a tensor is.
const FORMS: &[(&str, &str)] = &[
    (
        "torch._utils._rebuild_qtensor",
        "a quantized tensor of torch.ao (qint8); save the float network's state_dict(), from before convert()",
    ),
    (
        "torch._utils._rebuild_sparse_tensor",
        "a sparse tensor; save it with .to_dense()",
    ),
    (
        "torch._utils._rebuild_sparse_csr_tensor",
        "a sparse tensor; save it with .to_dense()",
    ),
    (
        "torch._utils._rebuild_nested_tensor",
        "a nested tensor, which no ResNet has",
    ),
    (
        "torch._utils._rebuild_xla_tensor",
        "a tensor of an XLA device; save it with .cpu()",
    ),
    (
        "torch._utils._rebuild_device_tensor_from_numpy",
        "a tensor of an XLA device; save it with .cpu()",
    ),
    (
        "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        "a tensor of another device; save it with .cpu()",
    ),
    (
        "torch._utils._rebuild_meta_tensor_no_storage",
        "a tensor of the meta device, which has no values",
    ),
    (
        "torch._utils._rebuild_wrapper_subclass",
        "a tensor of a class of its own (DTensor, torchao); save plain tensors",
    ),
    (
        "torch._tensor._rebuild_from_type_v2",
        "a tensor of a class that keeps other tensors beside it; save plain tensors",
    ),
    (
        "torch.storage._load_from_bytes",
        "a tensor inside a pickle of its own; save the state_dict() with torch.save alone",
    ),
    (
        "numpy.core.multiarray._reconstruct",
        "a NumPy array; save it as torch.from_numpy(array)",
    ),
    (
        "numpy._core.multiarray._reconstruct",
        "a NumPy array; save it as torch.from_numpy(array)",
    ),
    (
        "numpy._core.numeric._frombuffer",
        "a NumPy array; save it as torch.from_numpy(array)",
    ),
    (
        "numpy.core.numeric._frombuffer",
        "a NumPy array; save it as torch.from_numpy(array)",
    ),
    (
        "jaxlib.xla_extension.ArrayImpl",
        "a JAX array; save it as torch.from_numpy(numpy.array(array))",
    ),
];

/// The sentence about the first tensor among `unread` (name, class) that is one of the forms known.
pub(super) fn tensor_unread(unread: &[(String, String)]) -> Option<String> {
    unread.iter().find_map(|(name, class)| {
        let (_, what) = FORMS.iter().find(|(form, _)| form == class)?;
        Some(format!("{} is {what}", quoted(name)))
    })
}

/// The sentence about an object that may hold the network, where nothing else did.
pub(super) fn object_unread(unread: &[(String, String)]) -> Option<String> {
    let (name, class) = unread.first()?;
    let place = if name.is_empty() {
        "the file".to_owned()
    } else {
        quoted(name)
    };
    Some(format!(
        "{place} is an object of class {}, which is not looked into; save the network's state_dict()",
        quoted(class)
    ))
}

/// What a parameter is called that another is computed from, and what that is.
const COMPUTED: &[(&str, &str)] = &[
    (
        "weight_g",
        "weight_norm's weight_g and weight_v; call torch.nn.utils.remove_weight_norm before saving",
    ),
    (
        "weight_u",
        "spectral_norm's weight_orig, weight_u and weight_v; call torch.nn.utils.remove_spectral_norm before saving",
    ),
    (
        "parametrizations.weight.original",
        "a parametrization's original; call torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\") before saving",
    ),
    (
        "parametrizations.weight.original0",
        "a parametrization's originals (weight_norm); call torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\") before saving",
    ),
];

/// The sentence about the first weight that is stored as what it is computed from.
pub(super) fn computed<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    names.into_iter().find_map(|name| {
        COMPUTED.iter().find_map(|(end, what)| {
            let owner = name.strip_suffix(end)?;
            let weight = format!("{owner}weight");
            (owner.is_empty() || owner.ends_with('.'))
                .then(|| format!("{} is stored as {what}", quoted(&weight)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_called_what_it_is_wherever_it_lies() {
        let unread = [
            (
                "scheduler".to_owned(),
                "torch.optim.lr_scheduler.StepLR".to_owned(),
            ),
            (
                "conv1.weight".to_owned(),
                "torch._utils._rebuild_qtensor".to_owned(),
            ),
        ];
        let said = tensor_unread(&unread).unwrap();
        assert!(
            said.starts_with("'conv1.weight' is a quantized tensor"),
            "{said}"
        );
        assert_eq!(tensor_unread(&unread[..1]), None);
        assert!(object_unread(&unread).unwrap().contains("StepLR"));
    }

    #[test]
    fn a_weight_that_is_computed_from_others_is_named() {
        let said = computed(["bn1.weight", "layer1.0.conv1.weight_g"]).unwrap();
        assert!(
            said.starts_with("'layer1.0.conv1.weight' is stored as weight_norm's"),
            "{said}"
        );
        let said = computed([
            "conv1.parametrizations.weight.original1",
            "conv1.parametrizations.weight.original0",
        ]);
        assert!(said.unwrap().contains("remove_parametrizations"));
        assert_eq!(computed(["conv1.weight", "my_weight_g"]), None);
    }
}
