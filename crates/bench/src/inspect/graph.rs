//! The network as a table: what is computed of what, how large it is, what it costs.

use std::fmt::Write;

use network::{Network, Value};

const HEAD: [&str; 6] = ["value", "operation", "of", "shape", "MACs", "parameters"];

/// A line for each node in execution order, then the sums.
pub fn text(network: &Network) -> String {
    let topology = network.topology();
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let (mut operations, mut parameters) = (0, 0);
    for (id, node) in topology.nodes().iter().enumerate() {
        let own = topology.multiplications(id);
        let trained = topology
            .wanted(id)
            .filter(|(name, ..)| !name.contains(".running_"));
        let tensors = trained.filter_map(|(name, ..)| network.tensors().get(&name));
        let numbers: usize = tensors.map(network::HostTensor::len).sum();
        operations += own;
        parameters += numbers;
        let reads: Vec<&str> = node
            .inputs
            .iter()
            .map(|&value| topology.name(value))
            .collect();
        rows.push(vec![
            node.name.clone(),
            node.op.to_string(),
            reads.join(", "),
            topology.shape(Value::Node(id)).to_string(),
            counted(own),
            counted(numbers as u64),
        ]);
    }
    rows.push(vec![
        "all".to_owned(),
        format!("{} layers", topology.layers().count()),
        topology.input().to_string(),
        format!("{} classes", topology.classes()),
        counted(operations),
        counted(parameters as u64),
    ]);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            // Writing to a string cannot fail.
            let _ = match column {
                0..=3 => write!(text, "{cell:<width$}  "),
                4 => write!(text, "{cell:>width$}  "),
                _ => writeln!(text, "{cell:>width$}"),
            };
        }
    }
    text
}

/// A count with a space between thousands; nothing for none.
fn counted(n: u64) -> String {
    if n == 0 {
        return String::new();
    }
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use resnet::{Arch, random_state};

    #[test]
    fn a_network_is_a_table_with_its_sums() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let network = resnet::network(&arch, random_state(&arch, 1)).unwrap();
        let text = text(&network);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        let first: Vec<&str> = line("conv1 ").split_whitespace().collect();
        assert_eq!(
            first,
            [
                "conv1", "conv", "3x3", "input", "16x32x32", "442", "368", "432"
            ]
        );
        assert!(line("layer1.0.add").contains("bn2, conv1.relu"), "{text}");
        // He et al. 2016, table 6: 0.27 M parameters.
        let last: Vec<&str> = line("all").split_whitespace().collect();
        assert_eq!(
            last[..6],
            ["all", "20", "layers", "3x32x32", "10", "classes"]
        );
        assert_eq!(last[6..], ["40", "551", "040", "269", "722"]);
    }
}
