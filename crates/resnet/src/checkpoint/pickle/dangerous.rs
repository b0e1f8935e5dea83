//! Functions that no weight file refers to. Nothing is ever called, so this protects whoever loads the file in Python next.

/// Modules whose functions run code, touch files or the network.
const MODULES: &str = "os posix nt ntpath posixpath subprocess sys commands popen2 pty platform shutil socket ssl http \
    urllib urllib2 requests ftplib smtplib telnetlib webbrowser importlib imp runpy code codeop ctypes \
    _ctypes marshal pickle _pickle dill cloudpickle multiprocessing asyncio pip pdb timeit";

/// Builtins that run code or reach it.
const BUILTINS: &str =
    "eval exec execfile compile open input raw_input __import__ breakpoint globals vars apply";

/// Whether `module.name` is one of them.
pub(super) fn is_dangerous(module: &str, name: &str) -> bool {
    let package = module.split('.').next().unwrap_or_default();
    let is_in = |list: &str, word: &str| list.split(' ').any(|listed| listed == word);
    let builtin = matches!(module, "builtins" | "__builtin__" | "__builtins__");
    is_in(MODULES, package) || builtin && is_in(BUILTINS, name)
}
