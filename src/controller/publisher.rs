//! Publishing: each new image reaches every shard before anyone is told that it holds.
//!
//! In:   images, as the state machine applies them; the hook that carries them to the shards.
//! Out:  the hook's calls, in order; the current image for whoever looks.
//! Home: a task of the control thread, which alone owns the hook.
//!
//! Invariants
//!   B1  Images are published in log order, one at a time; none after a newer one.
//!   B2  The state machine goes on, and so answers go out, only after the hook has returned.
//!   B3  A hook's first call is the image current then, with everything as new.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::metadata::delta::Delta;
use crate::metadata::image::MetadataImage;

/// Publications under way at most: the state machine waits for each, so one, and one hook.
const MESSAGES_MAX: usize = 4;

/// What carries an image to the shards; done when all of them hold it.
type Hook = Box<
    dyn FnMut(Arc<MetadataImage>, Arc<Delta>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send,
>;

enum Message {
    Image { image: Arc<MetadataImage>, done: oneshot::Sender<()> },
    Hook { hook: Hook, done: oneshot::Sender<()> },
}

/// A handle to the publishing task; it ends with the last handle.
#[derive(Clone, Debug)]
pub struct Publisher {
    messages: mpsc::Sender<Message>,
    images: watch::Receiver<Arc<MetadataImage>>,
}

impl Publisher {
    /// Starts the task on the current tokio runtime, with the empty image and no hook.
    pub fn start() -> Publisher {
        let (messages, received) = mpsc::channel(MESSAGES_MAX);
        let (current, images) = watch::channel(Arc::new(MetadataImage::empty()));
        tokio::spawn(run(received, current));
        Publisher { messages, images }
    }

    /// Makes `image` the current one and returns once the hook has carried it (B2).
    pub async fn publish(&self, image: Arc<MetadataImage>) {
        self.send(|done| Message::Image { image, done }).await;
    }

    /// Takes `hook` for all later images, and calls it with the current one first (B3).
    ///
    /// Returns once that first call is done. A hook there was is dropped.
    pub async fn set_hook<F, C>(&self, mut hook: F)
    where
        F: FnMut(Arc<MetadataImage>, Arc<Delta>) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let hook: Hook = Box::new(move |image, delta| Box::pin(hook(image, delta)));
        self.send(|done| Message::Hook { hook, done }).await;
    }

    /// The image published last.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.images.borrow().clone()
    }

    /// A view of the image published last, and of those to come.
    pub fn subscribe(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.images.clone()
    }

    async fn send(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) {
        let (done, published) = oneshot::channel();
        // The task outlives every handle, but not a runtime that is being torn down: then
        // nobody is left to be told.
        if self.messages.send(message(done)).await.is_ok() {
            let _ = published.await;
        }
    }
}

async fn run(mut messages: mpsc::Receiver<Message>, current: watch::Sender<Arc<MetadataImage>>) {
    let mut hook: Option<Hook> = None;
    while let Some(message) = messages.recv().await {
        let done = match message {
            Message::Image { image, done } => {
                let old = current.send_replace(image.clone());
                assert!(old.applied_index() <= image.applied_index(), "B1");
                if let Some(hook) = &mut hook {
                    let delta = Arc::new(Delta::between(&old, &image));
                    hook(image, delta).await;
                }
                done
            }
            Message::Hook { hook: mut new, done } => {
                let image = current.borrow().clone();
                let delta = Arc::new(Delta::between(&MetadataImage::empty(), &image));
                new(image, delta).await;
                hook = Some(new);
                done
            }
        };
        // Whoever waited may have been cancelled; the image is published all the same.
        let _ = done.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::{PartitionState, Record};
    use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
    use crate::model::topic_name::TopicName;

    fn with_topic(image: &MetadataImage, number: u8) -> Arc<MetadataImage> {
        let topic = TopicId([number; 16]);
        let name = TopicName::parse(&format!("t{number}")).unwrap();
        let state = PartitionState::new(vec![BrokerId(0)]);
        let partition = PartitionIndex(0);
        let records = [
            Record::TopicCreated { topic, name },
            Record::PartitionChanged { topic, partition, state },
        ];
        Arc::new(image.apply_entry(image.applied_index() + 1, &records).unwrap())
    }

    #[tokio::test]
    async fn a_hook_sees_what_is_there_and_then_each_change_before_publish_returns() {
        let publisher = Publisher::start();
        let first = with_topic(&MetadataImage::empty(), 1);
        publisher.publish(first.clone()).await;
        let (seen, mut calls) = mpsc::unbounded_channel();
        let hook = move |image: Arc<MetadataImage>, delta: Arc<Delta>| {
            let seen = seen.clone();
            async move {
                tokio::task::yield_now().await;
                seen.send((image.applied_index(), delta.created.len())).unwrap();
            }
        };
        publisher.set_hook(hook).await;
        assert_eq!(calls.try_recv(), Ok((1, 1)), "B3");
        let second = with_topic(&first, 2);
        publisher.publish(second.clone()).await;
        assert_eq!(calls.try_recv(), Ok((2, 1)), "B2");
        assert!(Arc::ptr_eq(&publisher.image(), &second));
    }
}
