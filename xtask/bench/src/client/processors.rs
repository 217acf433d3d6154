//! Which processors a process may use.

/// The processors that this process may use.
pub(super) struct Processors {
    #[cfg(target_os = "linux")]
    allowed: Option<nix::sched::CpuSet>,
}

impl Processors {
    #[cfg(target_os = "linux")]
    pub(super) fn allowed() -> Self {
        Self { allowed: nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok() }
    }

    /// Binds the process (0 is this one) to the `nth` processor. False if that is not possible here, or if there are not
    /// two of them.
    #[cfg(target_os = "linux")]
    pub(super) fn pin(&self, process: u32, nth: usize) -> bool {
        let Some(allowed) = &self.allowed else { return false };
        let is_allowed = |processor: &usize| allowed.is_set(*processor).unwrap_or(false);
        let processors = (0..nix::sched::CpuSet::count()).filter(is_allowed).collect::<Vec<_>>();
        let mut one = nix::sched::CpuSet::new();
        let chosen = processors.get(nth).filter(|_| processors.len() > 1);
        chosen.is_some_and(|chosen| one.set(*chosen).is_ok()) && set(process, &one)
    }

    /// Lets the process use all of them again.
    #[cfg(target_os = "linux")]
    pub(super) fn free(&self, process: u32) {
        if let Some(allowed) = &self.allowed {
            set(process, allowed);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn allowed() -> Self {
        Self {}
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn pin(&self, _: u32, _: usize) -> bool {
        false
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn free(&self, _: u32) {}
}

#[cfg(target_os = "linux")]
fn set(process: u32, processors: &nix::sched::CpuSet) -> bool {
    let Ok(process) = i32::try_from(process) else { return false };
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(process), processors).is_ok()
}
