//! What a request to the API server is, by its method and path.

use axum::extract::Request;
use http::{Method, Uri};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Evict,
    Resize,
    Label,
    Journal,
    Status,
    Finalizer,
    Event,
    LeaseWrite,
    LeaseRead,
    Watch,
    ReadPolicy,
    ReadPods,
    ReadWorkload,
    ReadServices,
    Rights,
    OtherRead,
    OtherWrite,
}

impl Kind {
    /// A change that the fence must hold back: not the lease itself, and no question.
    pub fn is_change(self) -> bool {
        use Kind::{Event, Evict, Finalizer, Journal, Label, OtherWrite, Resize, Status};
        matches!(self, Evict | Resize | Label | Journal | Status | Finalizer | Event | OtherWrite)
    }

    /// A change of the world or of the journal: what events and status only tell of.
    pub fn is_effect(self) -> bool {
        self.is_change() && !matches!(self, Self::Event | Self::Status)
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    pub kind: Kind,
    pub method: Method,
    pub path: String,
}

impl Call {
    pub fn of(request: &Request) -> Self {
        let (method, uri) = (request.method().clone(), request.uri());
        Self { kind: kind(&method, uri), method, path: uri.path().to_owned() }
    }
}

fn kind(method: &Method, uri: &Uri) -> Kind {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let read = *method == Method::GET;
    let ends = |suffix: &str| path.ends_with(suffix);
    if read && query.contains("watch=true") {
        return Kind::Watch;
    }
    match () {
        () if path.contains("/leases") => return if read { Kind::LeaseRead } else { Kind::LeaseWrite },
        () if ends("/eviction") => return Kind::Evict,
        () if ends("/resize") => return Kind::Resize,
        () if path.contains("/selfsubjectaccessreviews") => return Kind::Rights,
        () => {}
    }
    let policy = path.contains("/redismemorypolicies/");
    if read {
        return match () {
            () if policy => Kind::ReadPolicy,
            () if path.contains("/pods") => Kind::ReadPods,
            () if path.contains("/services") || path.contains("/endpointslices") => Kind::ReadServices,
            () if path.contains("/statefulsets") => Kind::ReadWorkload,
            () => Kind::OtherRead,
        };
    }
    match () {
        () if policy && ends("/status") && query.contains("journal") => Kind::Journal,
        () if policy && ends("/status") => Kind::Status,
        () if policy => Kind::Finalizer,
        () if path.contains("/pods/") => Kind::Label,
        () if path.contains("/events") => Kind::Event,
        () => Kind::OtherWrite,
    }
}

/// The same request, about one namespace where it asks for the policies of all.
pub(super) fn narrowed(uri: &Uri, namespace: &str) -> Uri {
    const ALL: &str = "/apis/redismemory.io/v1alpha1/redismemorypolicies";
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = match uri.path() {
        ALL => format!("/apis/redismemory.io/v1alpha1/namespaces/{namespace}/redismemorypolicies"),
        path => path.to_owned(),
    };
    format!("{path}{query}").parse().expect("a path")
}
