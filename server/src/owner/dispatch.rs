//! The one `match` on messages: each message calls the method of [`Owner`] that does it.

use super::clock::Now;
use super::message::Message;
use super::state::Owner;

impl Owner {
    pub(super) fn dispatch(&mut self, message: Message, now: Now) {
        self.reset_for_message();
        match message {
            Message::Read(read, reply) => self.read(reply, &read, now),
            Message::Write(write, request_id, reply) => self.write(reply, write, request_id, now),
            Message::Add(add, request_id, reply) => self.add(reply, add, request_id, now),
            Message::Transition(to, request_id, reply) => {
                self.transition(reply, to, request_id, now)
            }
            Message::Delete(delete, request_id, reply) => {
                self.delete(reply, delete, request_id, now)
            }
            Message::DeletePrefix(delete, request_id, reply) => {
                self.delete_prefix(reply, &delete, request_id, now)
            }
            Message::List(list, reply) => self.list(reply, &list, now),
            Message::Each(frames, quota) => frames.apply(self, &quota, now),
            Message::All(frame, quota, reply) => self.apply_all(reply, frame, quota, now),
            Message::OpenSession(open, request_id, reply) => {
                self.open_session(reply, open, request_id, now)
            }
            Message::RenewSession(life, reply) => self.renew_session(reply, &life, now),
            Message::CloseSession(life, request_id, reply) => {
                self.close_session(reply, &life, request_id, now)
            }
            Message::ListSessions(page, reply) => self.list_sessions(reply, &page, now),
            Message::DefineMachine(define, reply) => self.define_machine(reply, *define, now),
            Message::GetMachine(name, reply) => self.get_machine(reply, &name, now),
            Message::ListMachines(page, reply) => self.list_machines(reply, &page, now),
            Message::MachinesNow(most, reply) => self.machines_now(reply, most, now),
            Message::DeleteMachine(delete, reply) => self.delete_machine(reply, &delete, now),
            Message::Watch(watch, quota, reply) => self.watch(reply, watch, &quota, now),
            Message::NextBatch(watch, quota, reply) => self.next_batch(reply, watch, quota, now),
            Message::BeginBackup(quota, reply) => self.begin_backup(reply, &quota, now),
            Message::NextBackupSlice(copy, reply) => self.next_backup_slice(reply, copy, now),
            Message::Usage(reply) => self.usage(reply, now),
            Message::Heartbeat(taken) => {
                // A failed send means that nobody waits any more.
                let _ = taken.send(());
            }
            Message::HandOff(hand_off) => self.begin_hand_off(hand_off),
            Message::TellTime => self.tell_time(),
            Message::KeysInStates(most, reply) => self.keys_in_states(reply, most, now),
        }
    }
}
