// Random changes of a protobuf message that leave it a message: what bytes changed at random hardly
// ever do.
#pragma once

#include <google/protobuf/message.h>

#include <random>
#include <string>
#include <vector>

namespace savedmodel::fuzz {

class MessageMutator {
 public:
  explicit MessageMutator(unsigned seed) : random_(seed) {}

  // Changes one field somewhere in `message`.
  void Mutate(google::protobuf::Message* message) {
    std::vector<google::protobuf::Message*> all;
    Collect(message, &all);
    for (int tries = 0; tries < 10; ++tries) {
      if (MutateField(all[Below(all.size())])) return;
    }
  }

 private:
  using Message = google::protobuf::Message;
  using Field = google::protobuf::FieldDescriptor;

  size_t Below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  void Collect(Message* message, std::vector<Message*>* all) {
    all->push_back(message);
    const auto* reflection = message->GetReflection();
    std::vector<const Field*> fields;
    reflection->ListFields(*message, &fields);
    for (const Field* f : fields) {
      if (f->type() == Field::TYPE_STRING || f->type() == Field::TYPE_BYTES) {
        const int n = f->is_repeated() ? reflection->FieldSize(*message, f) : 1;
        for (int i = 0; i < n && texts_.size() < 5000; ++i) {
          texts_.push_back(f->is_repeated() ? reflection->GetRepeatedString(*message, f, i)
                                            : reflection->GetString(*message, f));
        }
      }
      if (f->cpp_type() != Field::CPPTYPE_MESSAGE) continue;
      if (!f->is_repeated()) {
        Collect(reflection->MutableMessage(message, f), all);
        continue;
      }
      for (int i = 0; i < reflection->FieldSize(*message, f); ++i) {
        Collect(reflection->MutableRepeatedMessage(message, f, i), all);
      }
    }
  }

  // A field that is set, mostly; false when there is nothing to change.
  bool MutateField(Message* message) {
    const auto* reflection = message->GetReflection();
    std::vector<const Field*> fields;
    reflection->ListFields(*message, &fields);
    const auto* type = message->GetDescriptor();
    const Field* f = nullptr;
    if (!fields.empty() && Below(8) > 0) {
      f = fields[Below(fields.size())];
    } else if (type->field_count() > 0) {
      f = type->field(static_cast<int>(Below(type->field_count())));
    }
    if (f == nullptr) return false;
    if (f->is_repeated()) return MutateList(message, f);
    if (f->cpp_type() == Field::CPPTYPE_MESSAGE) {
      if (Below(4) > 0) return false;
      if (reflection->HasField(*message, f)) {
        reflection->ClearField(message, f);
      } else {
        reflection->MutableMessage(message, f);
      }
      return true;
    }
    switch (f->cpp_type()) {
      case Field::CPPTYPE_INT32:
        reflection->SetInt32(message, f, Number<int32_t>(reflection->GetInt32(*message, f)));
        break;
      case Field::CPPTYPE_INT64:
        reflection->SetInt64(message, f, Number<int64_t>(reflection->GetInt64(*message, f)));
        break;
      case Field::CPPTYPE_UINT32:
        reflection->SetUInt32(message, f, Number<uint32_t>(reflection->GetUInt32(*message, f)));
        break;
      case Field::CPPTYPE_UINT64:
        reflection->SetUInt64(message, f, Number<uint64_t>(reflection->GetUInt64(*message, f)));
        break;
      case Field::CPPTYPE_BOOL:
        reflection->SetBool(message, f, !reflection->GetBool(*message, f));
        break;
      case Field::CPPTYPE_ENUM:
        reflection->SetEnumValue(message, f, static_cast<int>(Below(Below(4) > 0 ? 24 : 130)));
        break;
      case Field::CPPTYPE_FLOAT:
        reflection->SetFloat(message, f, static_cast<float>(Number<int64_t>(0)));
        break;
      case Field::CPPTYPE_STRING:
        reflection->SetString(message, f, Text(reflection->GetString(*message, f)));
        break;
      default:
        return false;
    }
    return true;
  }

  bool MutateList(Message* message, const Field* f) {
    const auto* reflection = message->GetReflection();
    const int n = reflection->FieldSize(*message, f);
    if (n == 0) return false;
    const int i = static_cast<int>(Below(n)), j = static_cast<int>(Below(n));
    const size_t what = Below(4);
    if (what == 0) {
      reflection->SwapElements(message, f, i, n - 1);
      reflection->RemoveLast(message, f);
    } else if (what == 1) {
      reflection->SwapElements(message, f, i, j);
    } else if (f->cpp_type() == Field::CPPTYPE_MESSAGE) {
      const Message& from = reflection->GetRepeatedMessage(*message, f, i);
      if (what == 2 || f->is_map()) return false;
      reflection->AddMessage(message, f)->CopyFrom(from);
    } else if (f->cpp_type() == Field::CPPTYPE_STRING) {
      const std::string old = reflection->GetRepeatedString(*message, f, i);
      if (what == 2) reflection->AddString(message, f, Text(old));
      if (what == 3) reflection->SetRepeatedString(message, f, i, Text(old));
    } else if (f->cpp_type() == Field::CPPTYPE_INT64) {
      const int64_t old = reflection->GetRepeatedInt64(*message, f, i);
      if (what == 2) reflection->AddInt64(message, f, Number(old));
      if (what == 3) reflection->SetRepeatedInt64(message, f, i, Number(old));
    } else if (f->cpp_type() == Field::CPPTYPE_INT32) {
      const int32_t old = reflection->GetRepeatedInt32(*message, f, i);
      if (what == 2) reflection->AddInt32(message, f, Number(old));
      if (what == 3) reflection->SetRepeatedInt32(message, f, i, Number(old));
    } else {
      return false;
    }
    return true;
  }

  template <class T>
  T Number(T old) {
    static constexpr int64_t kSpecial[] = {0,         1,         -1,        2,         3,
                                           INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1 << 20};
    switch (Below(4)) {
      case 0:
        return static_cast<T>(kSpecial[Below(std::size(kSpecial))]);
      case 1:
        return static_cast<T>(static_cast<uint64_t>(old) + 1);
      case 2:
        return static_cast<T>(static_cast<uint64_t>(old) - 1);
      default:
        return static_cast<T>(uint64_t{1} << Below(64));
    }
  }

  // Another text of the message, or this one with a byte changed.
  std::string Text(std::string old) {
    if (!texts_.empty() && Below(4) > 0) return texts_[Below(texts_.size())];
    if (old.empty() || Below(4) == 0) return old + static_cast<char>(Below(128));
    if (Below(4) == 0) return old.substr(0, Below(old.size()));
    old[Below(old.size())] = static_cast<char>(Below(128));
    return old;
  }

  std::mt19937 random_;
  std::vector<std::string> texts_;
};

}  // namespace savedmodel::fuzz
